"""Find the rows of a batch that the target cannot accept, with the reasons."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_pipeline_provider.core.wording import counted
from airflow_pipeline_provider.envelope.jsonb import is_deeper, uncastable
from airflow_pipeline_provider.envelope.limits import TargetLimits
from airflow_pipeline_provider.envelope.schema import QUARANTINE, integer_scalar, integers, text

_TEXTS = ("RECORD_ID", "SOURCE_NAME", "BODY")
_KEY_END = re.compile(r'"[ \t\r\n]*:')
_VALUES = msgspec.json.Decoder()
_JSON = msgspec.json.Decoder(msgspec.Raw)  # validates the document without building values


def rejections(batch: pa.RecordBatch, limits: TargetLimits) -> dict[int, str]:
    """Map the row number of each row that the target cannot accept to its reasons, joined into one text.

    A reason contains nothing of the document's content.
    """
    found: defaultdict[int, list[str]] = defaultdict(list)
    for row, reason in _reasons(batch, limits):
        found[row].append(reason)
    return {row: "; ".join(found[row]) for row in sorted(found)}


def split(batch: pa.RecordBatch, rejected: dict[int, str]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the rows to load, and the rows to quarantine with their REASON."""
    rows = integers(rejected)
    accepted = batch.filter(pc.invert(pc.is_in(integers(range(batch.num_rows)), value_set=rows)))
    quarantined = batch.take(rows)
    reasons = text(rejected.values())
    return accepted, pa.RecordBatch.from_arrays([*quarantined.columns, reasons], schema=QUARANTINE)


def _reasons(batch: pa.RecordBatch, limits: TargetLimits) -> Iterator[tuple[int, str]]:
    bodies = batch.column("BODY")
    if limits.needs_body:
        for row in pc.indices_nonzero(pc.equal(pc.binary_length(bodies), integer_scalar(0))).to_pylist():
            yield (
                row,
                "its body is not valid JSON, or is nested too deeply, so source.redact could not be applied and "
                "nothing of it was kept",
            )
    if limits.max_body_bytes is not None:
        lengths = pc.binary_length(bodies)
        for row in pc.indices_nonzero(pc.greater(lengths, integer_scalar(limits.max_body_bytes))).to_pylist():
            yield (
                row,
                f"its body has {counted(lengths[row].as_py(), 'byte')}, the target accepts at most "
                f"{limits.max_body_bytes:,}",
            )
    if not limits.takes_nul:
        for name in _TEXTS:
            for row in _with_nul(batch.column(name)):
                yield row, f"its {name} contains a NUL character, which the target cannot store"
    if limits.needs_json:
        for row, body in enumerate(bodies.to_pylist()):
            if (error := _json_error(body)) is not None:
                yield row, f"its body is not JSON that the target can parse ({error})"
            elif limits.unique_keys and _repeats_a_key(body):
                yield row, "its body repeats a key in one object, which the target cannot parse"
    if limits.max_depth is not None:
        for row in _deeper(bodies, limits.max_depth):
            yield (
                row,
                f"its body is nested deeper than {limits.max_depth:,} levels, the maximum of the target",
            )
    if limits.needs_jsonb:
        yield from uncastable(bodies)


def _deeper(bodies: pa.Array, levels: int) -> list[int]:
    """Return the rows that are nested deeper; only long documents with enough brackets are parsed."""
    # to count brackets takes longer than all else that is done with a document; one that deep closes each of them
    long = pc.indices_nonzero(pc.greater(pc.binary_length(bodies), integer_scalar(2 * levels)))
    if not len(long):
        return []
    texts = bodies.take(long)
    brackets = pc.add(pc.count_substring(texts, "{"), pc.count_substring(texts, "["))
    enough = pc.greater(brackets.cast(pa.int64()), integer_scalar(levels))
    rows = long.filter(enough).to_pylist()
    return [row for row in rows if is_deeper(bodies[row].as_py().encode(), levels)]


def _with_nul(column: pa.Array) -> list[int]:
    # searching the buffer is many times faster than a kernel that searches each row; it may contain more than this
    # batch's rows, so it only proves that no row has a NUL
    data = column.buffers()[2]
    if data is None or b"\0" not in data.to_pybytes():
        return []
    rows: list[int] = pc.indices_nonzero(pc.match_substring(column, "\0")).to_pylist()
    return rows


def _repeats_a_key(body: str) -> bool:
    """Return whether an object in a valid JSON document repeats a key.

    Counting is nearly always enough: each key ends with a quote and a colon.
    """
    ends = len(_KEY_END.findall(body))  # a string may contain an escaped quote and a colon too
    try:
        if ends == _count_keys(_VALUES.decode(body)):
            return False
    except (msgspec.DecodeError, RecursionError, ValueError):  # such as a number beyond the range of a float
        pass
    try:
        json.loads(body, object_pairs_hook=_reject_repeated_keys, parse_int=str, parse_float=str)
    except _RepeatedKeyError:
        return True
    return False


def _count_keys(value: object) -> int:
    count, stack = 0, [value]
    while stack:
        at = stack.pop()
        if isinstance(at, dict):
            count += len(at)
            at = at.values()
        elif not isinstance(at, list):
            continue
        stack.extend(child for child in at if isinstance(child, dict | list))
    return count


class _RepeatedKeyError(Exception):
    pass


def _reject_repeated_keys(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _RepeatedKeyError


def _json_error(body: str) -> str | None:
    try:
        _JSON.decode(body)
    except msgspec.DecodeError as error:
        return str(error)
    except RecursionError:
        return "nested too deeply"
    return None
