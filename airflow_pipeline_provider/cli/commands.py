"""Declare the commands and their arguments, for the console script and for Airflow's `airflow pipelines`.

This module imports nothing but `command`, so that `--help` is fast. Values stay text: the commands parse them, so
that both command lines report an invalid value in the same words.
"""

from __future__ import annotations

from airflow_pipeline_provider.cli.command import (
    ACCEPT_CHANGES,
    ACCEPT_SHRINK,
    ACCEPT_UNUSUAL,
    BY,
    COMMON,
    DAYS,
    HERE,
    OPTIONAL_SPAN,
    OUTPUT,
    PIPELINE,
    REFERENCE_TIME,
    RETRIES,
    SOME_PIPELINE,
    SPAN,
    VERBOSE,
    WAIT,
    Command,
    argument,
    flag,
    option,
)

GROUP = "pipelines"
GROUP_HELP = "Check pipeline files, plan days, move time windows, and show what is complete"

EXIT_CODES = """\
exit codes: 0 success; 1 check failed (problems found, pipeline behind); 2 usage or configuration error;
3 temporary failure, retry later; 4 data error, needs review; 5 permanent failure (permission, missing object);
130 interrupted; 143 terminated"""

COMMANDS = (
    Command(
        "init",
        "Write a first pipeline",
        "Write a DAG file, defaults.yaml and a first pipeline below DIR, and print the connections that are missing. "
        "Existing files are never overwritten. On a terminal, ask for choices that no option makes.",
        "airflow_pipeline_provider.cli.init:init",
        (
            argument(
                "directory",
                metavar="DIR",
                nargs="?",
                default=".",
                help="write to this folder, such as Airflow's DAGs folder (default: the current folder)",
            ),
            option("--id", "ID", "set the id of the pipeline (default: %(default)s)", default="events"),
            argument(
                "--from",
                dest="source",
                choices=("sql", "elasticsearch"),
                default=None,
                help="set the type of the source (default: sql)",
            ),
            argument(
                "--to",
                dest="target",
                choices=("duckdb", "postgres", "snowflake"),
                default=None,
                help="set the type of the target (default: duckdb)",
            ),
            argument(
                "--state",
                choices=("sql", "variable"),
                default=None,
                help="set the type of the state, which keeps leases and the ledger (default: sql)",
            ),
            flag("--example", "also write a small SQLite database as the source; requires --from sql"),
            OUTPUT,
            VERBOSE,
        ),
        results={
            "": "airflow_pipeline_provider.cli.init:Started",
        },
    ),
    Command(
        "check",
        "Check pipeline files",
        "Check pipeline files; print every problem with its file and line, and the next five runs. Without FILES, "
        "check every pipeline file below --folder. Connections are opened only with --connect.",
        "airflow_pipeline_provider.cli.check:check",
        (
            argument(
                "files",
                metavar="FILES",
                nargs="*",
                help="check these YAML files, or the YAML files in these folders (default: all)",
            ),
            flag(
                "--connect",
                "also connect to source, stage, target and state, and print what each permits; nothing is "
                "left behind in them",
            ),
            REFERENCE_TIME,
            *COMMON,
        ),
        results={
            "": "airflow_pipeline_provider.cli.check:CheckResult",
        },
    ),
    Command(
        "plan",
        "Show the windows of a day",
        "Show the windows of a day in UTC and in local time, the clock change of that day, and when each window is "
        "ready. No connection is opened.",
        "airflow_pipeline_provider.cli.plan:plan",
        (
            PIPELINE,
            option("--day", "D", "show this local day, such as 2013-11-03 (default: today's target day)"),
            *COMMON,
        ),
        results={
            "": "airflow_pipeline_provider.cli.plan:DayPlan",
        },
    ),
    Command(
        "run",
        "Move windows in this process, without a scheduler",
        "Move the next window of a pipeline in this process, without a scheduler. If another process holds the "
        "window, wait for it, and take it over when its lease has expired.",
        "airflow_pipeline_provider.cli.run:run",
        (
            PIPELINE,
            REFERENCE_TIME,
            flag("--until-done", "continue until no window is ready (default: one window)"),
            option(
                "--window-start",
                "T",
                "move exactly the window that starts at T, ISO 8601 with an offset, even if it is committed",
            ),
            option("--window-end", "T", "end that window at T, in the same local day"),
            flag("--exact", "move the named window even if it is not a window of the day plan"),
            WAIT,
            RETRIES,
            BY,
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.run:RunResult"},
    ),
    Command(
        "status",
        "Show which days are complete",
        "Show the days of a pipeline: coverage, rows, what is missing, and why. Without PIPELINE, show one line for "
        "each pipeline.",
        "airflow_pipeline_provider.cli.status:status",
        (
            SOME_PIPELINE,
            DAYS,
            option(
                "--fail-if-behind",
                "DURATION",
                "exit with 1 if the oldest gap starts more than this before the newest ready instant, such as"
                " 6h",
            ),
            REFERENCE_TIME,
            *COMMON,
        ),
        results={
            "one pipeline": "airflow_pipeline_provider.views.status:StatusReport",
            "all pipelines": "airflow_pipeline_provider.cli.status:AllStatus",
        },
    ),
    Command(
        "gaps",
        "Show what is missing, and why",
        "Show each interval that is neither committed nor waived, why, and how often it failed. Exit with 1 when one "
        "of them is ready. Without PIPELINE, show the gaps of all pipelines.",
        "airflow_pipeline_provider.cli.gaps:gaps",
        (
            SOME_PIPELINE,
            option(
                "--days",
                "N",
                "look at the last N days up to the target day (default: all days that runs plan)",
            ),
            REFERENCE_TIME,
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.gaps:AllGaps"},
    ),
    Command(
        "history",
        "Show everything that happened to a window",
        "Show every ledger entry of a window, in order, and the commit rows of the target. WINDOW is a window id, or "
        "PIPELINE followed by a window id, a day, or two instants with offsets.",
        "airflow_pipeline_provider.cli.history:history",
        (
            argument(
                "window",
                metavar="WINDOW",
                nargs="+",
                help="select the window: flights.20131103T040000Z-20131103T060000Z, flights 2013-11-03, or "
                "flights START END",
            ),
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.views.history:WindowHistory"},
    ),
    Command(
        "reprocess",
        "Move windows again, including committed ones",
        "Move the windows of a range of days again, by a run of the DAG for each, or in this process. The rows of a "
        "committed window are replaced, never duplicated.",
        "airflow_pipeline_provider.cli.reprocess:reprocess",
        (
            PIPELINE,
            *OPTIONAL_SPAN,
            flag(
                "--all",
                "move every committed window again, also from a changed source or into a changed target",
            ),
            HERE,
            ACCEPT_SHRINK,
            ACCEPT_CHANGES,
            ACCEPT_UNUSUAL,
            flag("--dry-run", "show the windows and change nothing"),
            WAIT,
            RETRIES,
            BY,
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.reprocess:Reprocessed"},
    ),
    Command(
        "quarantine",
        "List, show and load again the rows that the target rejected",
        "Work with the rows that the target rejected (audit.on_reject: quarantine). list: print each window that has "
        "any, their number and the reasons. show: print the rows, and with --body their documents. load: move these "
        "windows again, after the documents or the limit were corrected. rebuild: write what the target's table of "
        "quarantined rows lacks, from the files of the stage. Without --window, --from and --to, all windows "
        "are meant. Exit with 1 when rows are gone or still rejected.",
        "airflow_pipeline_provider.cli.quarantine:quarantine",
        (
            argument("action", choices=("list", "show", "load", "rebuild"), help="select the action"),
            PIPELINE,
            option(
                "--window",
                "WINDOW",
                "select windows that overlap a window id, a day, or START/END with offsets (default: all)",
            ),
            *OPTIONAL_SPAN,
            option("--limit", "N", "for show: print at most N rows (default: 100)"),
            flag("--body", "for show: also print the documents, each up to 10,000 characters"),
            HERE,
            ACCEPT_SHRINK,
            ACCEPT_CHANGES,
            ACCEPT_UNUSUAL,
            flag("--dry-run", "for load: show the windows and change nothing"),
            WAIT,
            RETRIES,
            BY,
            *COMMON,
        ),
        results={
            "list": "airflow_pipeline_provider.cli.quarantine:QuarantineList",
            "show": "airflow_pipeline_provider.cli.quarantine:QuarantineRows",
            "load": "airflow_pipeline_provider.cli.quarantine_load:QuarantineLoaded",
            "rebuild": "airflow_pipeline_provider.cli.quarantine_load:QuarantineRebuilt",
        },
    ),
    Command(
        "waive",
        "Mark missing time as intentionally incomplete",
        "Mark time that is not committed as intentionally incomplete: runs skip it, and the reason stays visible. "
        "For a committed window that has drifted, the target keeps its rows.",
        "airflow_pipeline_provider.cli.gaps:waive",
        (
            PIPELINE,
            *SPAN,
            option("--reason", "TEXT", "record this reason in the ledger; `history` shows it", required=True),
            BY,
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.gaps:WaiveResult"},
    ),
    Command(
        "recheck",
        "Find late and changed data in committed windows",
        "Compare the committed windows of the last days with the source again, by change markers and by counts, and "
        "count the target. Load windows that grew or whose rows changed in place again, by a run of the DAG or in "
        "this process; report windows that shrank without changing them (exit code 4).",
        "airflow_pipeline_provider.cli.recheck:recheck",
        (
            PIPELINE,
            DAYS,
            HERE,
            ACCEPT_SHRINK,
            ACCEPT_CHANGES,
            ACCEPT_UNUSUAL,
            flag("--no-reload", "report windows that grew or changed without loading them again"),
            WAIT,
            RETRIES,
            BY,
            REFERENCE_TIME,
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.recheck:Rechecked"},
    ),
    Command(
        "diff",
        "Find records that differ between source and target",
        "Compare the records of committed windows in source and target, and print which are missing, extra, "
        "different or repeated. Only ids and event times are compared, unless --content is given. Time that could "
        "not be compared is listed with the reason. Exit with 0 only if all of it was compared and nothing differs.",
        "airflow_pipeline_provider.cli.diff:diff",
        (
            PIPELINE,
            *SPAN,
            flag("--content", "also compare the bodies of the records, by a hash"),
            option(
                "--limit",
                "N",
                "print at most N records for each window (default: %(default)s)",
                default="10",
            ),
            option("--records", "FILE", "write every record that differs to this new file, as JSON Lines"),
            flag(
                "--repair",
                "move the windows that differ again; those that would lose rows only with --accept-shrink",
            ),
            HERE,
            ACCEPT_SHRINK,
            ACCEPT_CHANGES,
            ACCEPT_UNUSUAL,
            WAIT,
            RETRIES,
            BY,
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.diff_output:DiffResult"},
    ),
    Command(
        "doctor",
        "Compare ledger, stage and target, and repair differences",
        "Compare the ledger with the target's commit rows and counts, with the files in the stage and with the "
        "target's external stage; print each gap, overlap, orphan and difference with the command that repairs it. "
        "--fix runs the repairs that lose nothing: it waives nothing, and loads a window again only if the source "
        "holds at least as many rows; ids are not compared. Exit with 1 when a problem is found.",
        "airflow_pipeline_provider.cli.doctor:doctor",
        (
            PIPELINE,
            flag("--fix", "run the repairs that lose nothing, then compare again"),
            BY,
            option(
                "--days",
                "N",
                "look at the last N days up to the target day (default: %(default)s)",
                default="31",
            ),
            REFERENCE_TIME,
            *COMMON,
        ),
        results={
            "": "airflow_pipeline_provider.cli.doctor:Diagnosis",
        },
    ),
    Command(
        "unlock",
        "Remove expired leases",
        "Remove leases that were not renewed in time, and show who held which window since when. A live lease is "
        "kept, unless --force is given.",
        "airflow_pipeline_provider.cli.cleanup:unlock",
        (
            PIPELINE,
            option(
                "--window",
                "WINDOW",
                "remove only leases that overlap a window id, a day, or START/END with offsets (default: all)",
            ),
            flag("--force", "also remove live leases"),
            BY,
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.cleanup:UnlockResult"},
    ),
    Command(
        "adopt",
        "Accept a changed source or target",
        "Accept that the pipeline file names another source or target than before because the same data moved: a "
        "moved database, a renamed table or index. The target must hold every committed window; if it does not, use "
        "reprocess with --all.",
        "airflow_pipeline_provider.cli.state:adopt",
        (
            PIPELINE,
            option("--reason", "TEXT", "record this reason in the ledger; `history` shows it", required=True),
            BY,
            *COMMON,
        ),
        results={
            "": "airflow_pipeline_provider.cli.state:Adopted",
        },
    ),
    Command(
        "cleanup",
        "Remove what crashed attempts left behind",
        "Remove the files of attempts that a newer commit replaced or that were abandoned, unfinished uploads, and "
        "expired leases. Files of a live attempt, and of one that may be retried, are kept.",
        "airflow_pipeline_provider.cli.cleanup:cleanup",
        (
            PIPELINE,
            option(
                "--older-than",
                "DURATION",
                "remove attempts that wrote nothing for this long, such as 7d; longer than any retry waits "
                "(default: %(default)s)",
                default="7d",
            ),
            flag("--dry-run", "show what would be removed and change nothing"),
            *COMMON,
        ),
        results={"": "airflow_pipeline_provider.cli.cleanup:CleanupResult"},
    ),
    Command(
        "state",
        "Export, import, rebuild or rename a pipeline's state",
        "export: write ledger, run bindings, first day and newest token as JSON Lines. import: write them into the "
        "store that the pipeline file names now, which must not hold other entries of the pipeline. rebuild: restore "
        "a lost ledger from the target's commit rows, after counting their rows. rename OLD NEW: transfer the state "
        "and the target rows of pipeline OLD to NEW, whose file names the same source and target.",
        "airflow_pipeline_provider.cli.state:state",
        (
            argument("action", choices=("export", "import", "rebuild", "rename"), help="select the action"),
            argument(
                "pipeline",
                metavar="PIPELINE",
                help="select the pipeline by its id or the path of its YAML file; for rename: OLD",
            ),
            argument(
                "file",
                metavar="FILE",
                nargs="?",
                default=None,
                help="write or read this file; - is standard output or input (default for export: -); for rename: "
                "NEW, the id or file of the pipeline",
            ),
            BY,
            *COMMON,
        ),
        results={
            "import": "airflow_pipeline_provider.cli.state:ImportedState",
            "rebuild": "airflow_pipeline_provider.cli.state:RebuiltState",
            "rename": "airflow_pipeline_provider.cli.state:RenamedState",
        },
    ),
    Command(
        "columns",
        "Propose, compare, apply and print typed columns",
        "infer: ask the source for its types, sample documents of committed windows from the stage, and print the "
        "key `columns` of the pipeline file, with a comment where a type was guessed. Fields that a column of the "
        "file holds are left out. diff: compare the columns of the file with the types of the source, with sampled "
        "documents, and with the views in the target; exit with 1 if they differ. apply: create the views, or "
        "replace those that follow other columns. sql: print the statements of the views, or dbt files for them.",
        "airflow_pipeline_provider.cli.columns:columns",
        (
            argument("action", choices=("infer", "diff", "apply", "sql"), help="select the action"),
            PIPELINE,
            option(
                "--days",
                "N",
                "for infer and diff: sample the windows of the N days up to the newest committed one (default: 7)",
            ),
            flag(
                "--write",
                "for infer: add the columns to the pipeline file; the rest of the file stays as it is",
            ),
            flag("--dry-run", "for apply: print the statements and change nothing"),
            flag("--dbt", "for sql: print sources.yml and a staging model for each view"),
            option("--into", "DIR", "with --dbt: write the files into this folder (default: print them)"),
            *COMMON,
        ),
        results={
            "infer": "airflow_pipeline_provider.cli.columns_infer:InferredColumns",
            "diff": "airflow_pipeline_provider.cli.columns_diff:ColumnsDiff",
            "apply": "airflow_pipeline_provider.cli.columns_sql:AppliedColumns",
            "sql": "airflow_pipeline_provider.cli.columns_sql:ColumnsSql",
        },
    ),
    Command(
        "certify",
        "Test that a service has the properties of the promise",
        "Run the properties on which exactly-once rests against a service of yours, print what was seen, and remove "
        "everything that was created. target: transactions, two sessions at the fence row, lost replies to COMMIT, "
        "part files, names, sizes and times. source: a window that is there is read whole; with --scratch also rows "
        "of its own. stage: files. state: compare-and-set by threads and processes. The exit code is 0 if every "
        "property that applies was tested and passed, or was left out by --without.",
        "airflow_pipeline_provider.cli.certify:certify",
        (
            argument("kind", choices=("target", "source", "stage", "state"), help="select what is tested"),
            argument(
                "conn",
                metavar="CONN",
                help="id of the Airflow connection; for a stage or a DuckDB file its path, such as "
                "s3://aws_default@bucket/folder",
            ),
            option("--type", "TYPE", "type of the connector (default: by the connection)"),
            option(
                "--schema",
                "SCHEMA",
                "for target and state: create the tables in this schema, which must hold no others",
            ),
            option(
                "--scratch", "PREFIX", "for source: create and delete an index whose name begins with PREFIX"
            ),
            option(
                "--stage",
                "PATH",
                "for target: stage the part files there (default: a temporary folder of this machine)",
            ),
            argument(
                "--compression",
                choices=("zstd", "lz4"),
                help="for target: load part files of this codec, as stage.compression sets it (default: zstd)",
            ),
            option(
                "--set",
                "KEY=VALUE",
                "set a key of the connector's section, such as index=flights; may be repeated",
                action="append",
                dest="settings",
            ),
            option("--from", "T", "for source: read a window from this instant, ISO 8601", dest="first"),
            option("--to", "T", "for source: up to this instant", dest="last"),
            option(
                "--without",
                "PROPERTY",
                "leave a property out; it is listed as not tested; may be repeated",
                action="append",
            ),
            flag("--dry-run", "print what would be created and tested, and change nothing"),
            OUTPUT,
            VERBOSE,
        ),
        results={"": "airflow_pipeline_provider.cli.certify:Certification"},
    ),
    Command(
        "connectors",
        "List the installed connectors",
        "List the sources, stages, targets and state stores that a pipeline file can name, with the package that "
        "defines each. The exit code is 1 if one of them cannot be used.",
        "airflow_pipeline_provider.cli.connectors:connectors",
        (OUTPUT, VERBOSE),
        {"": "airflow_pipeline_provider.cli.connectors:InstalledConnectors"},
    ),
    Command(
        "schema",
        "Print the JSON Schema of pipeline files",
        "Print the JSON Schema of pipeline files, including installed connectors, for editors that complete and "
        "check YAML.",
        "airflow_pipeline_provider.cli.schema:schema",
        (
            option("--write", "FILE", "write the schema to FILE (default: standard output)"),
            OUTPUT,
            VERBOSE,
        ),
    ),
)
