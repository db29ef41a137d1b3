"""Phase 3: write one slice of the window to part files, then one receipt that lists them.

Part names are unique to the execution, and a receipt lists only its own finished parts, so a crash, a retry or a
stale task leaves files that no process reads.  A lost point in time voids everything read under it: the parts are
deleted and the whole slice is read again, never resumed.  Rows that the target cannot accept are written to separate
parts (`audit.on_reject: quarantine`), which the receipt lists separately.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

from airflow_pipeline_provider.connectors.base import Slice
from airflow_pipeline_provider.core.change_markers import ChangeMarker
from airflow_pipeline_provider.core.drift import FieldSet, merged
from airflow_pipeline_provider.envelope.manifest import Part, Receipt
from airflow_pipeline_provider.exceptions import PipelineError, SnapshotLostError, TransientError
from airflow_pipeline_provider.fault_points import reach
from airflow_pipeline_provider.phases.recheck_changes import take_marker
from airflow_pipeline_provider.phases.run_phase import Phase, run_phase
from airflow_pipeline_provider.phases.runtime import Runtime
from airflow_pipeline_provider.phases.values import Claim

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

SNAPSHOT_TRIES = 3  # then the task's own retry, with its longer pause, takes over


def attempt_folder(claim: Claim, attempt: str) -> str:
    """Return the folder of the attempt's files, below the stage's base."""
    return f"{claim.stage_path}/{attempt}"


def extract(runtime: Runtime, claim: Claim, attempt: str, slice_: Slice) -> str:
    """Read the slice, write its parts and its receipt; returns the receipt's path."""
    folder = attempt_folder(claim, attempt)
    with run_phase(runtime, "extract", claim, attempt) as phase:
        rewritten = runtime.source.rewritten()
        written = _read_whole(runtime, phase, folder, slice_)
        reach("extract.read")
        phase.check_lease()
        receipt = Receipt(
            slice_.index,
            slice_.of,
            slice_.interval,
            parts=tuple(written.parts),
            quarantined=tuple(written.quarantined),
            fields=merged(written.fields),
            marker=written.marker,
            rewritten=rewritten,
        )
        path = f"{folder}/{receipt.name}"
        runtime.stage.write(path, receipt.to_bytes())
        reach("extract.receipt_written")
        phase.counts(
            rows=receipt.rows,
            quarantined=receipt.quarantined_rows or None,
            parts=len(receipt.parts),
            bytes=receipt.size_bytes,
        )
        if receipt.quarantined:
            logger.warning(
                "%d rows that the target cannot take are quarantined, with the reasons, in %s",
                receipt.quarantined_rows,
                ", ".join(runtime.stage.url(part.path) for part in receipt.quarantined[:3]),
            )
        return path


def _read_whole(runtime: Runtime, phase: Phase, folder: str, slice_: Slice) -> _Written:
    for tries_left in reversed(range(SNAPSHOT_TRIES)):
        written = _Written()
        written.marker = take_marker(runtime, slice_)
        try:
            with runtime.source.open(slice_, slice_.readers) as iterators:
                reach("extract.opened")
                _write_all(runtime, phase, folder, slice_, iterators, written)
            return written
        except BaseException as error:
            _discard(runtime, written.paths)
            if not isinstance(error, SnapshotLostError) or not tries_left:
                raise
            logger.warning("the source's point in time was lost, the slice is read again: %s", error.message)
    raise AssertionError("unreachable: the last try returns or raises")


class _Written:
    """What all readers have finished so far, and the sign for the others to stop.

    `paths` holds each file as soon as it is there; `parts`, `quarantined` and `fields` only what readers that came to
    their end have returned.
    """

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.quarantined: list[Part] = []
        self.fields: list[FieldSet] = []
        self.marker: ChangeMarker | None = None
        self.paths: list[str] = []
        self.stop = threading.Event()


class _Stopped(TransientError):
    """Another reader of the slice failed first."""


def _write_all(
    runtime: Runtime,
    phase: Phase,
    folder: str,
    slice_: Slice,
    iterators: Sequence[Iterator[pa.RecordBatch]],
    written: _Written,
) -> None:
    columns = runtime.target.identity.columns
    gathers = runtime.config.contract is not None

    def watched(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if written.stop.is_set():
                raise _Stopped("another reader of the slice failed")
            phase.check_lease()
            yield batch

    @contextmanager
    def open_write(path: str) -> Iterator[BinaryIO]:
        with runtime.stage.open_write(path) as file:
            reach("extract.part_begun")
            yield file
        written.paths.append(path)
        reach("extract.part_written")

    limits = runtime.target.limits
    if runtime.source.gives_strict_json:
        limits = limits._replace(needs_json=False, unique_keys=False)
    if runtime.config.source.redact:
        limits = limits._replace(needs_body=True)

    def read(batches: Iterator[pa.RecordBatch]) -> None:
        try:
            rows = watched(batches)
            first = list(islice(rows, 1))
            if not first and not gathers:
                return  # no part to write: before the import of Arrow
            from airflow_pipeline_provider.envelope.field_kinds import FieldKinds
            from airflow_pipeline_provider.envelope.parts import write_parts

            fields = FieldKinds(columns) if gathers else None
            files = write_parts(
                chain(_given_away(first), rows),
                open_write=open_write,
                folder=folder,
                index=slice_.index,
                interval=slice_.interval,
                part_bytes=runtime.config.stage.part_size,
                limits=limits,
                on_reject=runtime.config.audit.on_reject,
                writers=len(iterators),
                fields=fields,
                compression=runtime.config.stage.compression,
            )
            written.parts.extend(files.parts)
            written.quarantined.extend(files.quarantined)
            if fields is not None:
                written.fields.append(fields.result())
        except BaseException:
            written.stop.set()
            raise

    if len(iterators) == 1:
        read(iterators[0])
        return
    with ThreadPoolExecutor(len(iterators), thread_name_prefix="extract") as pool:
        try:
            futures = [pool.submit(read, batches) for batches in iterators]
            wait(futures)
        except BaseException as ending:  # the task must end: its readers must end before the pool can
            written.stop.set()
            if isinstance(ending, (SystemExit, KeyboardInterrupt)):
                phase.held.let_go()  # Airflow kills the process after 5 seconds; readers may wait longer
            raise
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])


def _given_away(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches without keeping one in memory while it is used."""
    while batches:
        yield batches.pop(0)


def _discard(runtime: Runtime, paths: Sequence[str]) -> None:
    """Delete parts that are not listed; log a failure, because it must not hide the first error."""
    try:
        runtime.stage.delete(paths)
    except PipelineError as error:
        logger.warning("%d part files of a failed read stay behind: %s", len(paths), error)
