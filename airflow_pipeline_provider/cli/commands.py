"""The commands and their arguments, told once: the console script and Airflow's `airflow pipelines` both read this.

Nothing is imported here, so that `--help` answers at once.  Values stay text: the commands themselves read them, and
so give the same sentence for a bad one wherever they are called from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
exit codes: 0 well; 1 the answer is no (problems in a file, a pipeline is behind); 2 a wrong argument or pipeline
file; 3 it may work later (network, a lock, a window that another process holds); 4 the data is not as promised,
a person looks; 5 nothing helps until a permission, a table or an installation changes; 130 interrupted;
143 terminated"""

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

COMMANDS = (
    Command(
        "check",
        "Check pipeline files",
        "Check pipeline files and print every problem with its file and line. Without FILES, every file that is "
        "found. No connection is opened.",
        "airflow_pipeline_provider.cli.check:check",
        (_argument("files", metavar="FILES", nargs="*", help="YAML files, or folders of them"), *_COMMON),
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
            _argument(
                "--wait",
                metavar="DURATION",
                default="10m",
                help="how long to wait for windows that another process holds, as 30s or 2h (default: %(default)s)",
            ),
            _argument(
                "--retries",
                metavar="N",
                default="3",
                help="how often to try a window again after an error that may pass (default: %(default)s)",
            ),
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
            _argument(
                "pipeline",
                metavar="PIPELINE",
                nargs="?",
                default=None,
                help="id of a pipeline, or path of its YAML file (default: all)",
            ),
            _argument(
                "--days", metavar="N", default="7", help="days up to the target day (default: %(default)s)"
            ),
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
        "schema",
        "Print the JSON Schema of pipeline files",
        "Print the JSON Schema of pipeline files, with the connectors that are installed, for editors that complete "
        "and check YAML.",
        "airflow_pipeline_provider.cli.schema:schema",
        (
            _argument("--write", metavar="FILE", default=None, help="write it to FILE instead"),
            _OUTPUT,
            _VERBOSE,
        ),
    ),
)
