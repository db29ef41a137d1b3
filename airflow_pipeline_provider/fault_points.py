"""Name the places between two steps where a test may crash the process or raise an error.

`reach(point)` does nothing in production. `testing.faults` installs a hook; `docs/reliability.md` shows how a rerun
recovers from a crash at each point. A point comes after the write that it names, so two neighbours enclose one step.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS = {
    "generate.planned": "a window was chosen, nothing is written",
    "generate.leased": "the lease is taken, the run is not bound to the window (sql: neither is committed)",
    "generate.bound": "the run is bound to its window",
    "validate.judged": "the source was asked, nothing is written",
    "validate.recorded": "the attempt with its frozen slice plan is in the ledger",
    "extract.opened": "the source's consistent view is open, nothing is read",
    "extract.part_begun": "a part file is open, nothing is in it",
    "extract.part_written": "one more part file is published",
    "extract.read": "the slice is read whole, its receipt is not written",
    "extract.receipt_written": "the receipt is published",
    "stage.verified": "every part was checked, no token is minted",
    "stage.token_minted": "the token is minted, no manifest has it",
    "stage.manifest_written": "the manifest is published",
    "load.prepared": "tables, view and fence exist in the target",
    "load.recorded": "`replacing` is in the ledger, the target is untouched",
    "load.fence_taken": "inside the target's transaction: the fence row is taken",
    "load.deleted": "inside: the window's old rows are deleted",
    "load.copied": "inside: the manifest's rows are copied",
    "load.commit_row_written": "inside: the commit row is written, the transaction is open",
    "load.committed": "the target's transaction is committed",
    "audit.counted": "source and target were counted, nothing is written",
    "audit.committed": "`committed` is in the ledger, older files are still there, and the lease if there are any",
    "audit.files_removed": "the files of older attempts are removed",
    "audit.released": "the lease is released",
    "drain.planned": "the next window is known, its run is not started",
    "state.before_commit": "a change of the state is made and not yet committed (variable: about to be written)",
    "state.after_commit": "the change is committed (variable: written, not yet read back)",
    "file.before_publish": "a file of the stage is whole and not yet visible under its name",
    "file.published": "the file is visible under its name",
}

ACTION_POINTS = {
    "reprocess.marked": "all committed windows are unverified, the changed source or target is not accepted",
    "rename.begun": "`state rename`: the new id is marked as unfinished, nothing else is written",
    "rename.old_marked": "the old id is marked as renamed",
    "rename.state_copied": "the ledger is under the new id too, the target is untouched",
    "rename.fence_taken": "inside the target's transaction: the fence row is taken",
    "rename.rows_renamed": "inside: the rows have the new id, the commit rows have the old one",
    "rename.target_committed": "the target's transaction is committed",
    "columns.fence_taken": "`columns apply`: inside the target's transaction: the fence row is taken",
    "columns.added": "inside: the physical columns are added (Snowflake: about to be), and the fence row names them",
    "columns.add_committed": "the transaction is committed, no row of the past is filled",
    "columns.altered": "Snowflake only: the columns are added, and no load fills them yet",
    "columns.rows_filled": "inside a transaction per window: its rows are filled, the fence row does not show it",
    "columns.progress_written": "inside: the fence row records up to which time rows are filled",
    "columns.window_committed": "that transaction is committed",
    "columns.filled": "every row is filled, the views do not read the columns yet",
    "load.quarantined": "inside the target's transaction: the window's quarantined rows are replaced",
    "accept_shrink.recorded": "the acceptance is recorded, the run that it names is not started",
    "expectations.recorded": "one more miss is in the ledger, no notice is sent",
    "waive.leased": "the interval is leased, no waiver is written",
    "waive.written": "one more interval is waived, its lease is still there",
}
"""Points that not every run reaches, most of them of commands that an operator runs.

`tests/phases/test_identity.py`, `test_quarantine.py` and `physical_cases.py` crash at them.
"""

Hook = Callable[[str], None]
_hook: Hook | None = None


def reach(point: str) -> None:
    """Call the installed hook, if any, with this point."""
    if _hook is not None:
        _hook(point)


def install(hook: Hook | None) -> Hook | None:
    """Install the hook that `reach` calls (None: no hook) and return the previous one. For tests only."""
    global _hook
    before, _hook = _hook, hook
    return before
