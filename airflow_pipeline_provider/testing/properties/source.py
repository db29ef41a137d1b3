"""Properties of a source: a window is read whole, under one view, and an incomplete response is an error.

Most only read a window that is there. Those at the end need rows of their own, in an index or table that may be
created and removed.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

import pyarrow as pa

from airflow_pipeline_provider.connectors.base import Slice, Source
from airflow_pipeline_provider.connectors.scratch import SourceScratch
from airflow_pipeline_provider.core.intervals import Interval
from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.exceptions import PipelineError
from airflow_pipeline_provider.testing.properties.cut_connections import cutting, open_connections
from airflow_pipeline_provider.testing.properties.judging import (
    NotApplicableError,
    NotMetError,
    NotTestedError,
    Property,
    expect,
)
from airflow_pipeline_provider.testing.sample_rows import MICRO
from airflow_pipeline_provider.testing.source_rows import (
    END,
    START,
    WINDOW,
    KitRow,
    Load,
    assert_rows,
    read_all,
    spread,
)

SMALL_PAGE = 10
PREFETCH_SECONDS = 0.5  # in which the reply to a request for the next page comes
_PAGED_ROWS = 100  # besides those of the time that most rows share
Rows = Counter[tuple[str, datetime, str]]


@dataclass(frozen=True)
class SourceLab:
    """A source and a window of it that no longer changes.

    `make_source` returns a new source; its arguments change options. `load` fills an index or table of its own with
    exactly the given rows; None if none may be created.
    """

    make_source: Callable[..., Source]
    window: Interval | None = None
    load: Load | None = None
    scratch: SourceScratch | None = None

    def read_window(self) -> tuple[Interval, Rows]:
        """Return the window and its rows; a window without rows, or one that changes, leaves a property untested."""
        if self.window is None:
            raise NotTestedError("no window with rows was found; name one by --from and --to")
        with closing(self.make_source()) as source:
            before = source.count(self.window)
            found = rows_read(read_all(source, self.window))
            after = source.count(self.window)
        if before != after:
            raise NotTestedError(
                f"{self.window} changed while it was read; name an older one by --from and --to"
            )
        if not before and not found:
            raise NotTestedError(f"{self.window} has no rows; name another one by --from and --to")
        return self.window, found


def rows_read(batches: Sequence[pa.RecordBatch]) -> Rows:
    """Count each (record id, event time, SHA-256 of the body)."""
    return Counter(
        (row["RECORD_ID"], row["EVENT_TIME"], sha256(row["BODY"].encode()).hexdigest())
        for batch in batches
        for row in batch.to_pylist()
    )


# --- reading a window that is there


def can_be_read(lab: SourceLab) -> str:
    """Check that the source exists, can be read by time, and has a window with rows."""
    with closing(lab.make_source()) as source:
        source.check()
        newest = source.newest_event_time()
    return f"newest event {newest.isoformat() if newest else 'unknown'}; window {lab.window or 'none'}"


def counts_what_it_reads(lab: SourceLab) -> str:
    """Compare the exact count with the rows that one reader and several readers return."""
    window, found = lab.read_window()
    total = sum(found.values())
    with closing(lab.make_source()) as source:
        expect(f"rows that were read of {window}, against its count", total, source.count(window))
        if repeated := [key for key, number in found.items() if number > 1]:
            raise NotMetError(
                f"{counted(len(repeated), 'row')} came more than once, first {repeated[0][0]!r}"
            )
        for readers in (2, 3):
            again = rows_read(read_all(source, window, readers))
            if again != found:
                raise NotMetError(
                    f"{readers} readers returned other rows than one: {(found - again).total()} are missing, "
                    f"{(again - found).total()} too many"
                )
    return f"{counted(total, 'row')} by count, by one reader, by two and by three"


def is_half_open(lab: SourceLab) -> str:
    """Cut the window at the times of its own rows: each row is on exactly one side."""
    window, found = lab.read_window()
    times = sorted({moment for _, moment, _ in found})
    cuts = {times[0], times[len(times) // 2], times[-1], times[len(times) // 2] + MICRO}
    with closing(lab.make_source()) as source:
        for cut in sorted(cut for cut in cuts if window.start < cut < window.end):
            for part in (Interval(window.start, cut), Interval(cut, window.end)):
                inside = Counter({key: n for key, n in found.items() if part.holds(key[1])})
                expect(f"count of {part}", source.count(part), sum(inside.values()))
                expect(f"rows outside of {part}", (rows_read(read_all(source, part)) - inside).total(), 0)
    return f"cut at {counted(len(cuts), 'time')} of its rows, to the microsecond"


def slices_tile(lab: SourceLab) -> str:
    """Read the window in slices, as mapped tasks do."""
    window, found = lab.read_window()
    with closing(lab.make_source()) as source:
        slices = source.plan_slices(window, 4)
        bounds = [slices[0].interval.start, slices[-1].interval.end]
        expect("bounds of the slices", bounds, [window.start, window.end])
        if any(a.interval.end != b.interval.start for a, b in itertools.pairwise(slices)):
            raise NotMetError("there is time between two slices, or they overlap")
        read = rows_read([b for s in slices for b in read_all(source, s.interval, 1, s.index, s.of)])
    if read != found:
        raise NotMetError(f"{(found - read).total()} rows are missing, {(read - found).total()} too many")
    return f"{counted(len(slices), 'slice')} hold every row once"


def pages_without_loss(lab: SourceLab) -> str:
    """Read the window in pages so small that rows with equal times are in several of them."""
    _, found = lab.read_window()
    if "page_size" not in type(lab.make_source().options).model_fields:
        raise NotApplicableError("the source reads no pages (it has no option page_size)")
    moment, most = Counter(time for _, time, _ in found.elements()).most_common(1)[0]
    size = max(1, min(SMALL_PAGE, most - 1))
    times = sorted(time for _, time, _ in found.elements())
    first = times.index(moment)
    part = Interval(moment, times[min(first + most + _PAGED_ROWS, len(times) - 1)] + MICRO)
    expected = Counter({key: n for key, n in found.items() if part.holds(key[1])})
    with closing(lab.make_source(page_size=size)) as source:
        read = rows_read(read_all(source, part))
    if read != expected:
        raise NotMetError(
            f"{(expected - read).total()} rows are missing, {(read - expected).total()} too many"
        )
    if most == 1:
        raise NotTestedError("no two rows of the window have an equal time; the pages themselves were whole")
    return f"{counted(sum(expected.values()), 'row')} in pages of {size}; up to {most:,} rows share a time"


def refuses_cut_connection(lab: SourceLab) -> str:
    """Cut the connection after the first page: the rest must come, or an error."""
    window, found = lab.read_window()
    if sum(found.values()) < 3:
        raise NotTestedError("the window has fewer than three rows")
    before = open_connections()
    changes = {"page_size": 1} if "page_size" in type(lab.make_source().options).model_fields else {}
    part = Interval(window.start, sorted(time for _, time, _ in found)[:40][-1] + MICRO)
    expected = Counter({key: n for key, n in found.items() if part.holds(key[1])})
    with closing(lab.make_source(**changes)) as source:
        batches: list[pa.RecordBatch] = []
        try:
            with source.open(Slice(0, 1, part), 1) as iterators:
                batches.append(next(iter(iterators[0])))
                time.sleep(PREFETCH_SECONDS)  # a thread that already waits for a reply does not see the cut
                with cutting(open_connections() - before, "reply") as cut:
                    batches += [batch for iterator in iterators for batch in iterator]
        except PipelineError as error:
            if not cut:
                raise
            return f"the connection was cut after the first page: {type(error).__name__}"
    if not cut:
        raise NotTestedError("no connection was used after the first page")
    read = rows_read(batches)
    if read != expected:
        raise NotMetError(
            f"after a cut connection the view ended without an error, and {(expected - read).total()} rows are "
            "missing"
        )
    return "the connection was cut after the first page, and the rest was read over another one"


def refuses_partial_responses(lab: SourceLab) -> str:
    """Alter the server's responses so that they say they are incomplete, or are cut off."""
    window, _ = lab.read_window()
    if lab.scratch is None:
        raise NotTestedError("the source's scratch alters no responses")
    names = []
    with closing(lab.make_source()) as source:
        for name, alteration in lab.scratch.partial_responses(source):
            for what, call in (("count", source.count), ("read", lambda w: read_all(source, w))):
                _expect_refusal(f"{what} of a response with {name}", alteration, partial(call, window))
            names.append(name)
    if not names:
        raise NotTestedError("the source's scratch alters no responses")
    return f"refused: {', '.join(names)}"


def _expect_refusal(
    what: str, alteration: Callable[[], AbstractContextManager[None]], call: Callable[[], Any]
) -> None:
    try:
        with alteration():
            call()
    except PipelineError:
        return
    raise NotMetError(f"{what} was taken as a whole answer")


def refuses_missing_source(lab: SourceLab) -> str:
    """Ask for an index or a table that does not exist: an error, not an empty window."""
    fields = type(lab.make_source().options).model_fields
    key = next((key for key in ("index", "table") if key in fields), None)
    if key is None:
        raise NotTestedError("the source has no option index or table")
    with closing(lab.make_source(**{key: "certify_no_such_source", "query": None})) as source:
        for what, call in (("count", source.count), ("read", lambda w: read_all(source, w))):
            _expect_refusal(f"{what} of a missing {key}", _unaltered, partial(call, lab.window or WINDOW))
    return f"a missing {key} is an error for count and read"


class _Unaltered(AbstractContextManager[None]):
    def __exit__(self, *_: object) -> None:
        return None


_unaltered: Callable[[], AbstractContextManager[None]] = _Unaltered


# --- with rows of its own


def pages_equal_times(load: Load, readers: int) -> None:
    """Read more rows of one time than a page holds."""
    loaded = load([KitRow(f"r{i}", START) for i in range(130)])
    assert_rows(read_all(loaded.source, WINDOW, readers), loaded, WINDOW)


def keeps_its_view(load: Load, readers: int) -> None:
    """Delete every row while a view is read: the view has them all, a new count none."""
    loaded = load(spread(230))
    assert loaded.delete_all is not None
    with loaded.source.open(Slice(0, 1, WINDOW), readers) as iterators:
        batches = [next(iter(iterators[0]))]
        loaded.delete_all()
        batches += [batch for iterator in iterators for batch in iterator]
    assert_rows(batches, loaded, WINDOW)
    expect("rows after all were deleted", loaded.source.count(WINDOW), 0)


def _with_rows(lab: SourceLab) -> Load:
    if lab.load is None:
        raise NotTestedError("rows of its own are needed: allow an index or table of its own by --scratch")
    return lab.load


def view_is_stable(lab: SourceLab) -> str:
    """Change the source while one view is read by one and by three readers."""
    for readers in (1, 3):
        keeps_its_view(_with_rows(lab), readers)
    return "all rows were deleted after the first page; the view still had each of 230 rows once"


def equal_times_are_paged(lab: SourceLab) -> str:
    """Read 130 rows of one time in pages of at most 50."""
    for readers in (1, 3):
        pages_equal_times(_with_rows(lab), readers)
    return "130 rows of one time, each once, by one and by three readers"


def bounds_are_exact(lab: SourceLab) -> str:
    """Read rows at, just before and just after both bounds."""
    load = _with_rows(lab)
    second = (END - START) / 7200
    rows = [KitRow(f"r{n}", at) for n, at in enumerate((START - second, START, END - second, END))]
    loaded = load(rows)
    expect("count of the window", loaded.source.count(WINDOW), 2)
    assert_rows(read_all(loaded.source, WINDOW), loaded, WINDOW)
    return "the start is inside, the end is not"


def properties() -> Iterator[Property[SourceLab]]:
    """Yield the properties of any source."""
    yield Property("readable", "the source exists and can be read by time", can_be_read)
    yield Property(
        "count", "the rows that are read are as many as are counted, each once", counts_what_it_reads
    )
    yield Property(
        "half-open windows", "each row is in exactly one of two neighbouring windows", is_half_open
    )
    yield Property("slices", "the slices of a window hold each row once", slices_tile)
    yield Property("paging", "no row is lost between pages, also of equal times", pages_without_loss)
    yield Property(
        "missing source", "a missing index or table is an error, not an empty window", refuses_missing_source
    )
    yield Property("partial responses", "an incomplete response is an error", refuses_partial_responses)
    yield Property("cut connection", "a lost connection never ends a window early", refuses_cut_connection)
    yield Property("stable view", "changes during a read are not in it", view_is_stable)
    yield Property("equal times", "rows of one time are read whole, in several pages", equal_times_are_paged)
    yield Property("bounds", "a window has its start and not its end", bounds_are_exact)
