"""The commands and their arguments, told once: the console script and Airflow's `airflow pipelines` both read this.

Nothing is imported here, so that `--help` answers at once.  Values stay text: the commands themselves read them, and
so give the same sentence for a bad one wherever they are called from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Argument:
    """`flags` and `options` as `argparse.ArgumentParser.add_argument` takes them."""

    flags: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """`handler` is "module:function": it takes the arguments and an `output.Screen`, and returns the exit code."""

    name: str
    help: str
    description: str
    handler: str
    arguments: tuple[Argument, ...]


def _argument(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


GROUP = "pipelines"
GROUP_HELP = "Pipelines of time windows: check their files, plan days, move windows, see what is complete"

EXIT_CODES = """\
exit codes: 0 success; 1 check failed (problems found, pipeline behind); 2 usage or configuration error;
3 temporary failure, retry later; 4 data error, needs review; 5 permanent failure (permission, missing object);
130 interrupted; 143 terminated"""

_FOLDER = _argument(
    "--folder",
    metavar="DIR",
    default=None,
    help="look for pipeline files in and below DIR (default: Airflow's DAGs folder)",
)
_OUTPUT = _argument(
    "-o",
    "--output",
    choices=("table", "json"),
    default="table",
    help="table for people, json alone on standard output for programs",
)
_VERBOSE = _argument(
    "-v", "--verbose", action="store_true", help="log every phase; on an error, the traceback"
)
_COMMON = (_FOLDER, _OUTPUT, _VERBOSE)
_REFERENCE_TIME = _argument(
    "--reference-time",
    metavar="T",
    default=None,
    help="the instant to reason from, ISO 8601 with an offset, as 2013-11-05T02:00:00-05:00 (default: now)",
)
_PIPELINE = _argument("pipeline", metavar="PIPELINE", help="id of a pipeline, or path of its YAML file")
_SOME_PIPELINE = _argument(
    "pipeline",
    metavar="PIPELINE",
    nargs="?",
    default=None,
    help="id of a pipeline, or path of its YAML file (default: all)",
)
_DAYS = _argument("--days", metavar="N", default="7", help="days up to the target day (default: %(default)s)")
_SPAN = (
    _argument(
        "--from",
        dest="first",
        metavar="T",
        required=True,
        help="first local day, as 2013-11-03, or an instant with its offset, as 2013-11-03T01:00:00-04:00",
    ),
    _argument(
        "--to",
        dest="last",
        metavar="T",
        required=True,
        help="last local day, which is included, or the instant where it ends",
    ),
)
_BY = _argument(
    "--by",
    metavar="NAME",
    default=None,
    help="name to record in the ledger and `history` (default: the effective user of the operating system)",
)
_WAIT = _argument(
    "--wait",
    metavar="DURATION",
    default="10m",
    help="how long to wait for windows that another process holds, as 30s or 2h (default: %(default)s)",
)
_RETRIES = _argument(
    "--retries",
    metavar="N",
    default="3",
    help="how often to try a window again after an error that may pass (default: %(default)s)",
)
_HERE = _argument(
    "--here",
    action="store_true",
    help="move the windows in this process, instead of by runs of the DAG",
)
_ACCEPT_SHRINK = _argument(
    "--accept-shrink",
    action="store_true",
    help="rows that the source has no longer go from the target too; with --here",
)

COMMANDS = (
    Command(
        "init",
        "Write a first pipeline",
        "Write a DAG file, defaults.yaml and a first pipeline below DIR, and print the connections that are missing. "
        "Existing files are never overwritten. On a terminal, ask for what no option names.",
        "airflow_pipeline_provider.cli.init:init",
        (
            _argument(
                "directory",
                metavar="DIR",
                nargs="?",
                default=".",
                help="folder to write to, such as Airflow's DAGs folder (default: the current folder)",
            ),
            _argument(
                "--id", metavar="ID", default="events", help="id of the pipeline (default: %(default)s)"
            ),
            _argument(
                "--from",
                dest="source",
                choices=("sql", "elasticsearch"),
                default=None,
                help="type of the source (default: sql)",
            ),
            _argument(
                "--to",
                dest="target",
                choices=("duckdb", "postgres", "snowflake"),
                default=None,
                help="type of the target (default: duckdb)",
            ),
            _argument(
                "--state",
                choices=("sql", "variable"),
                default=None,
                help="where leases and the ledger are kept (default: sql)",
            ),
            _argument(
                "--example",
                action="store_true",
                help="also write a small SQLite database to read from; with --from sql",
            ),
            _OUTPUT,
            _VERBOSE,
        ),
    ),
    Command(
        "check",
        "Check pipeline files",
        "Check pipeline files and print every problem with its file and line, and the next five runs. Without FILES, "
        "every file that is found. No connection is opened, unless --connect asks for it.",
        "airflow_pipeline_provider.cli.check:check",
        (
            _argument("files", metavar="FILES", nargs="*", help="YAML files, or folders of them"),
            _argument(
                "--connect",
                action="store_true",
                help="also open source, stage, target and state, and print what each can and cannot do; nothing "
                "is left behind in them",
            ),
            _REFERENCE_TIME,
            *_COMMON,
        ),
    ),
    Command(
        "plan",
        "Show the windows of a day",
        "Show the windows of a day in UTC and in local time, with its clock change, and when each is ready. No "
        "database is asked.",
        "airflow_pipeline_provider.cli.plan:plan",
        (
            _PIPELINE,
            _argument(
                "--day",
                metavar="D",
                default=None,
                help="local calendar day, as 2013-11-03 (default: today's target day)",
            ),
            *_COMMON,
        ),
    ),
    Command(
        "run",
        "Move windows in this process, without a scheduler",
        "Move the next window of a pipeline in this process, without a scheduler. A window that another process "
        "holds is waited for, and taken over once its lease has expired.",
        "airflow_pipeline_provider.cli.run:run",
        (
            _PIPELINE,
            _REFERENCE_TIME,
            _argument("--until-done", action="store_true", help="go on until no window is ready"),
            _argument(
                "--window-start",
                metavar="T",
                default=None,
                help="move exactly the window from T, ISO 8601 with an offset; again if it was moved before",
            ),
            _argument("--window-end", metavar="T", default=None, help="end of that window, in the same day"),
            _WAIT,
            _RETRIES,
            _BY,
            *_COMMON,
        ),
    ),
    Command(
        "status",
        "Show which days are complete",
        "Show the days of a pipeline: coverage, what is missing, rows, and why. Without PIPELINE, a line for each "
        "pipeline.",
        "airflow_pipeline_provider.cli.status:status",
        (
            _SOME_PIPELINE,
            _DAYS,
            _argument(
                "--fail-if-behind",
                metavar="DURATION",
                default=None,
                help="exit with 1 when the oldest gap lies more than this before the newest window that is ready, "
                "as 6h",
            ),
            _REFERENCE_TIME,
            *_COMMON,
        ),
    ),
    Command(
        "gaps",
        "Show what is missing, and why",
        "Show each stretch of time that is neither committed nor waived: why, and how often it failed. Exits with 1 "
        "when one of them is ready. Without PIPELINE, of all pipelines.",
        "airflow_pipeline_provider.cli.gaps:gaps",
        (
            _SOME_PIPELINE,
            _argument(
                "--days",
                metavar="N",
                default=None,
                help="only the last N days up to the target day (default: all days that runs look at)",
            ),
            _REFERENCE_TIME,
            *_COMMON,
        ),
    ),
    Command(
        "history",
        "Show everything that happened to a window",
        "Show every line of the ledger about a window, in order, and the commit rows of the target. WINDOW is a "
        "window id, or PIPELINE and then a window id, a day, or two instants with their offsets.",
        "airflow_pipeline_provider.cli.history:history",
        (
            _argument(
                "window",
                metavar="WINDOW",
                nargs="+",
                help="as flights.20131103T040000Z-20131103T060000Z, or flights 2013-11-03, or flights START END",
            ),
            *_COMMON,
        ),
    ),
    Command(
        "reprocess",
        "Move windows again, committed ones too",
        "Move the windows of some days again, by a run of the DAG for each, or in this process. Committed windows "
        "are replaced, never doubled.",
        "airflow_pipeline_provider.cli.reprocess:reprocess",
        (
            _PIPELINE,
            *(
                replace(bound, options={**bound.options, "required": False, "default": None})
                for bound in _SPAN
            ),
            _argument(
                "--all",
                action="store_true",
                help="every committed window, also into a changed target or from a changed source",
            ),
            _HERE,
            _ACCEPT_SHRINK,
            _argument("--dry-run", action="store_true", help="show the windows and do nothing"),
            _WAIT,
            _RETRIES,
            _BY,
            *_COMMON,
        ),
    ),
    Command(
        "waive",
        "Give up on time that is missing",
        "Give up on time that is not committed: it counts as done, and the reason stays visible. Where a committed "
        "window has drifted, the target keeps its rows.",
        "airflow_pipeline_provider.cli.gaps:waive",
        (
            _PIPELINE,
            *_SPAN,
            _argument("--reason", metavar="TEXT", required=True, help="why, for the ledger and `history`"),
            _BY,
            *_COMMON,
        ),
    ),
    Command(
        "recheck",
        "Find late data in committed windows",
        "Count the committed windows of the last days again, in the source and in the target. What grew is loaded "
        "again, by a run of the DAG or in this process; what shrank is told and left alone (exit code 4).",
        "airflow_pipeline_provider.cli.recheck:recheck",
        (
            _PIPELINE,
            _DAYS,
            _HERE,
            _ACCEPT_SHRINK,
            _argument("--no-reload", action="store_true", help="only find it"),
            _WAIT,
            _RETRIES,
            _BY,
            _REFERENCE_TIME,
            *_COMMON,
        ),
    ),
    Command(
        "doctor",
        "Compare ledger, stage and target, and mend what differs",
        "Compare the ledger with the target's commit rows and counts, with the files in the stage and with the "
        "target's external stage; name each gap, overlap, orphan and disagreement with the command that mends it. "
        "--fix runs those that need nobody's word: it never deletes rows because the source lost them, and gives up "
        "on nothing. Exit code 1 when something is found.",
        "airflow_pipeline_provider.cli.doctor:doctor",
        (
            _PIPELINE,
            _argument("--fix", action="store_true", help="run the commands that are safe, then look again"),
            _BY,
            _argument(
                "--days", metavar="N", default="31", help="days up to the target day (default: %(default)s)"
            ),
            _REFERENCE_TIME,
            *_COMMON,
        ),
    ),
    Command(
        "unlock",
        "Remove expired leases",
        "Remove the leases of runs that gave no sign of life for too long, and say who held which window since when. "
        "A live lease is left alone, unless forced.",
        "airflow_pipeline_provider.cli.cleanup:unlock",
        (
            _PIPELINE,
            _argument(
                "--window",
                metavar="WINDOW",
                default=None,
                help="only leases that overlap it: a window id, a day, or START/END with offsets (default: all)",
            ),
            _argument("--force", action="store_true", help="remove live leases too"),
            _BY,
            *_COMMON,
        ),
    ),
    Command(
        "adopt",
        "Accept a changed source or target",
        "Accept that the pipeline's file names another source or target than before, when it is the same data at "
        "another place: a moved database, a renamed table or index. The target must hold every committed window; if "
        "it does not, use reprocess with --all.",
        "airflow_pipeline_provider.cli.state:adopt",
        (
            _PIPELINE,
            _argument("--reason", metavar="TEXT", required=True, help="why, for the ledger and `history`"),
            _BY,
            *_COMMON,
        ),
    ),
    Command(
        "cleanup",
        "Remove what dead attempts left behind",
        "Remove files of attempts that a newer commit overtook or that nobody went on with, uploads that nobody "
        "finished, and expired leases. Files of a live attempt, and of one that may wait for its retry, stay.",
        "airflow_pipeline_provider.cli.cleanup:cleanup",
        (
            _PIPELINE,
            _argument(
                "--older-than",
                metavar="DURATION",
                default="7d",
                help="how long an attempt must have been silent, as 7d; longer than any retry waits "
                "(default: %(default)s)",
            ),
            _argument("--dry-run", action="store_true", help="only say what would be removed"),
            *_COMMON,
        ),
    ),
    Command(
        "state",
        "Export, import, rebuild or rename a pipeline's state",
        "export: write ledger, run bindings, first day and newest token as JSON Lines. import: write them into the "
        "store that the pipeline's file names now, which must not know other entries of the pipeline. rebuild: write "
        "a lost ledger again from the target's commit rows, after their rows were counted. rename OLD NEW: give the "
        "state and the target's rows of the pipeline OLD to NEW, whose file names the same source and target.",
        "airflow_pipeline_provider.cli.state:state",
        (
            _argument("action", choices=("export", "import", "rebuild", "rename"), help="what to do"),
            _argument(
                "pipeline",
                metavar="PIPELINE",
                help="id of a pipeline, or path of its YAML file; of rename: OLD",
            ),
            _argument(
                "file",
                metavar="FILE",
                nargs="?",
                default=None,
                help="file to write or to read; - is standard output or input (default for export: -); of rename: "
                "NEW, the id or file of the pipeline",
            ),
            _BY,
            *_COMMON,
        ),
    ),
    Command(
        "schema",
        "Print the JSON Schema of pipeline files",
        "Print the JSON Schema of pipeline files, with the connectors that are installed, for editors that complete "
        "and check YAML.",
        "airflow_pipeline_provider.cli.check:schema",
        (
            _argument("--write", metavar="FILE", default=None, help="write it to FILE instead"),
            _OUTPUT,
            _VERBOSE,
        ),
    ),
)
