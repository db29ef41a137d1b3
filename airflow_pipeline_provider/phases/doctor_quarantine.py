"""Compare the number of quarantined rows in the ledger with the target's table, for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_pipeline_provider.core import command_line, ledger
from airflow_pipeline_provider.core.intervals import common
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.phases.findings import Action, Finding, Repair, View
from airflow_pipeline_provider.phases.quarantine import GONE, QuarantinedLoad, compare, staged_manifest


def quarantined(view: View) -> Iterator[Finding]:
    """Yield loads whose quarantined rows are not all in the target's table.

    Without a table there is one finding, which is harmless: an earlier version wrote none, and a role that may not
    create it loads without it.  The rows are in the files of the stage.
    """
    table = view.runtime.target.quarantine_table()
    if table is None:
        return
    counts = view.runtime.target.quarantined(view.span)
    in_doubt = ledger.unverified(view.entries)
    loads = [
        load
        for load in compare(view.before, counts)
        if (load.outdated or load.rows not in (None, load.in_table))
        and view.span.covers(load.interval)
        and view.idle([load.interval]) == [load.interval]
        and not common([load.interval], in_doubt)
    ]
    if counts is None:
        rows = sum(load.rows or 0 for load in loads)
        if loads:
            yield Finding(
                "no_quarantine_table",
                None,
                f"{counted(rows, 'row')} of {counted(len(loads), 'window')} are quarantined in files of the stage "
                f"only: the target has no table {table}",
                _rebuild(view),
                harmless=True,
            )
        return
    for load in loads:
        is_staged = staged_manifest(view.runtime, load.interval, load.manifest) is not None
        yield Finding(
            "quarantine_differs",
            load.interval,
            f"the ledger has {counted(load.rows, 'quarantined row')} there, and {table} has {load.in_table:,}"
            + (f" and {load.outdated:,} of older loads" if load.outdated else "")
            + ("" if is_staged else f"; {GONE}"),
            _rebuild(view) if is_staged else view.load_again(load.interval, _committed(view, load)),
        )


def _committed(view: View, load: QuarantinedLoad) -> int | None:
    """Return the rows that the source must hold so that loading the window again loses none."""
    for piece, entry in view.commits:
        if piece == load.interval and entry.token == load.token and entry.rows is not None:
            return entry.rows + (load.rows or 0)
    return None


def _rebuild(view: View) -> Action:
    return Action(Repair.FILL_QUARANTINE, command_line.rebuild_quarantine(view.name))
