"""Which form record ids have, and which rows share one.

A pipeline keeps the form that its commits have: rows that are loaded again under another id would be other records.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.ledger import Entry, Kind
from airflow_pipeline_provider.envelope.manifest import Manifest
from airflow_pipeline_provider.exceptions import DataError, FatalError, RepeatedIdsError
from airflow_pipeline_provider.phases.runtime import Runtime

_ALWAYS = Interval(datetime(1000, 1, 1, tzinfo=timezone.utc), datetime(9999, 1, 1, tzinfo=timezone.utc))
_INSTANT = timedelta(microseconds=1)


def record_id_form(runtime: Runtime) -> str | None:
    """Return the form for a new attempt, None for the source's usual one.

    Raise FatalError where the state was rebuilt, so that the form of the earlier record ids is not known.
    """
    wanted = runtime.source.record_id_form()
    if wanted is None:
        return None
    commit = None if wanted.is_set else _newest_commit(runtime)
    if commit is None:
        return wanted.form
    if commit.detail.get("rebuilt") and wanted.form is not None:
        raise FatalError(
            f"{wanted.why}, and the state was rebuilt, so the form of the earlier record ids is not known: set "
            f"`source.record_id` to {wanted.form}, or to id if the table's RECORD_ID values have no routing"
        )
    form = commit.detail.get("record_id")
    return form if isinstance(form, str) else None


def _newest_commit(runtime: Runtime) -> Entry | None:
    """Return the commit of the latest covered time; few entries are read."""
    for done in reversed(runtime.state.coverage(_ALWAYS).done):
        for piece in (Interval(done.end - _INSTANT, done.end), done):  # its end may be waived
            commits = [e for e in runtime.state.entries(piece) if e.kind is Kind.COMMITTED]
            if commits:
                return commits[-1]
    return None


def explained(runtime: Runtime, manifest: Manifest, error: RepeatedIdsError) -> DataError:
    """Name the record ids that rows of the manifest share, with the source's own explanation."""
    from airflow_pipeline_provider.envelope.parts import repeated_ids

    ids = repeated_ids(manifest.parts, runtime.stage.open_read)
    if not ids:
        return error
    why = runtime.source.explain_repeated(ids)
    return DataError(why or f"{error.message}: {', '.join(ids)}")
