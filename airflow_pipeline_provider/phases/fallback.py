"""Notice a state that fell back to an older copy: a replica took over, or a backup was restored.

The tokens of a pipeline only increase, and the target keeps the newest one that was loaded.  A state that never
issued that token is older than the target: it would plan windows that are done, and issue tokens again.  A state that
issued no token at all is new and continues from what the target holds.
"""

from __future__ import annotations

from airflow_pipeline_provider.core import command_line
from airflow_pipeline_provider.exceptions import StateBehindError
from airflow_pipeline_provider.phases.runtime import Runtime


def check_current(runtime: Runtime, given: int = 0) -> int:
    """Return the target's newest token; raise StateBehindError if the state never issued it, or never issued `given`.

    `given` is the token of the run's own manifest, which the target may not hold yet.
    """
    newest = runtime.target.newest_token()
    known = runtime.state.newest_token()
    if 0 < known < newest:
        raise StateBehindError(behind(runtime, known, f"the target was loaded with token {newest}"))
    if 0 < known < given:
        raise StateBehindError(behind(runtime, known, f"this run was given token {given}"))
    return newest


def refuse_older_state(runtime: Runtime) -> None:
    """Raise StateBehindError when the state is older than the target; call it before the first write.

    A state without a token is new, so the target is not asked.
    """
    if runtime.state.newest_token() > 0:
        check_current(runtime)


def behind(runtime: Runtime, known: int, newer: str) -> str:
    """Build the error: what is wrong and what to do."""
    rebuild = command_line.shell_line(
        command_line.rebuild_state(command_line.name_of(runtime.config.pipeline_id))
    )
    return (
        f"the state is older than the target: its newest token is {known}, and {newer}, so the store fell back to an "
        "older copy (a replica, a restored backup) or is a different one; nothing was written. Bring the newer copy "
        f"back, or write what is missing from the target's commit rows: {rebuild}"
    )
