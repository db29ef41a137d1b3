"""A source whose rows are redacted before any caller sees them (`source.redact`).

It is between every source and its callers, so the stage, `diff` and all others read the same rows:
`open` yields redacted batches, and no error of the source keeps its message, which may quote a row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from airflow_pipeline_provider.config.field_control import rules_of
from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.content_free import call
from airflow_pipeline_provider.connectors.probes import Answer, Probes
from airflow_pipeline_provider.connectors.values import Slice
from airflow_pipeline_provider.core.body_rules import Rewritten, rewritten_by
from airflow_pipeline_provider.core.field_patterns import RECORD_ID, glob_matches, parse_pattern
from airflow_pipeline_provider.exceptions import ConfigError, FatalError, PipelineError
from airflow_pipeline_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from typing import TypeAlias

    import pyarrow as pa

    from airflow_pipeline_provider.connectors.base import Source
    from airflow_pipeline_provider.envelope.redactor import HashKey, Redactor

    View: TypeAlias = AbstractContextManager[Sequence[Iterator[pa.RecordBatch]]]

SHORTEST_KEY = 16


def redacted(source: Source) -> Source:
    """Return the source itself, or with rules in `source.redact` one that applies them."""
    return RedactedSource(source) if rules_of(source.options) else source  # type: ignore[return-value]


class RedactedSource:
    """Delegate to another source; methods that the contract gets later are delegated too."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rules = rules_of(source.options)
        self._hashes_ids = any(rule.path == RECORD_ID for rule in self._rules)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._source, name)
        return functools.partial(_asked, found) if callable(found) else found

    def check(self) -> None:
        """Read the key of hashes, then check the source."""
        self.rewritten()
        _asked(self._source.check)

    def rewritten(self) -> Rewritten | None:
        """Return the record of the rules, with the id of the key; FatalError without a usable key."""
        fields = self._source.options.fields
        include, exclude = (fields.include, fields.exclude) if fields else ((), ())
        return rewritten_by(include, exclude, self._rules, self._key.id if self._key else None)

    def redacted_ids(self, record_ids: Sequence[str]) -> list[str]:
        """Return record ids of the source as rows of `open` have them."""
        return [self._redactor.record_id(record_id) for record_id in record_ids]

    def explain_repeated(self, record_ids: Sequence[str]) -> str | None:
        """Ask the source, unless it does not know the ids because they are hashed."""
        return None if self._hashes_ids else _asked(self._source.explain_repeated, record_ids)

    def open(self, slice_: Slice, readers: int = 1) -> View:
        """Open the slice of the source; its iterators yield redacted batches."""
        return self._opened(self._source.open, self._redactor.batch, slice_, readers)

    def open_ids(self, slice_: Slice, readers: int = 1) -> View:
        """Open the slice for its record ids, which are those of redacted rows, and event times."""
        return self._opened(self._source.open_ids, self._redactor.ids, slice_, readers)

    @contextmanager
    def _opened(
        self,
        opened: Callable[[Slice, int], View],
        redact: Callable[[pa.RecordBatch], pa.RecordBatch],
        slice_: Slice,
        readers: int,
    ) -> Iterator[Sequence[Iterator[pa.RecordBatch]]]:
        view = call(opened, slice_, readers)
        iterators = call(view.__enter__)
        try:
            yield [_redacted(iterator, redact) for iterator in iterators]
        except BaseException as error:
            if not call(view.__exit__, type(error), error, error.__traceback__):
                raise
        else:
            call(view.__exit__, None, None, None)

    def probes(self) -> Probes:
        """Yield the checks of the source, then whether the key is there and each rule names a field."""
        for what, ask in self._source.probes():
            yield what, functools.partial(_asked, ask)
        yield "redact", self._rules_answer

    def _rules_answer(self) -> Answer:
        rewritten = self.rewritten()
        fields = _asked(self._source.field_types)
        if fields:
            unknown = list(
                _unknown_paths([rule.path for rule in self._rules], [".".join(f.path) for f in fields])
            )
            if unknown:
                return Answer("warning", "; ".join(unknown))
        return Answer("ok", str(rewritten))

    @functools.cached_property
    def _key(self) -> HashKey | None:
        if not any(rule.how == "hash" for rule in self._rules):
            return None
        return read_key(self._source.options.redact_conn_id)

    @functools.cached_property
    def _redactor(self) -> Redactor:
        from airflow_pipeline_provider.envelope.redactor import Redactor

        return Redactor(self._rules, self._key)


def read_key(conn_id: str | None) -> HashKey:
    """Read the key of hashes, the connection's password; raise FatalError if it is missing or short."""
    from airflow_pipeline_provider.envelope.redactor import HashKey

    if conn_id is None:
        raise ConfigError(
            "source.redact_conn_id is missing: how: hash needs the connection that holds the key"
        )
    secret = get_connection(conn_id).password or ""
    if len(secret) < SHORTEST_KEY:
        found = "no password" if not secret else f"a password of {len(secret)} characters"
        raise FatalError(
            f"source.redact: connection {conn_id!r} has {found}, and values are hashed only with a key of "
            f"{SHORTEST_KEY} characters or more: set one, such as the output of `openssl rand -hex 32`"
        )
    return HashKey(secret.encode())


def _asked(function: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    """Call a method that reads no rows; what is wrong with the setup is shown as it is."""
    try:
        return function(*args, **kwargs)
    except (ConfigError, FatalError):
        raise
    except PipelineError as error:
        failed = error
    return call(_raise, failed)


def _raise(error: PipelineError) -> None:
    raise error


def _redacted(
    iterator: Iterator[pa.RecordBatch], redact: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    while (batch := call(next, iterator, None)) is not None:
        yield call(redact, batch)


def _unknown_paths(paths: Sequence[str], fields: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each path that names no field, and nothing below or above one."""
    levels = {
        field[:end]
        for field in fields
        for end in range(1, len(field) + 1)
        if field[end : end + 1] in ("", ".")
    }
    for path in paths:
        parse_pattern(path)
        loose = path.replace("**.", "*")
        if path == RECORD_ID or any(glob_matches(loose, field) for field in levels):
            continue
        yield f"the source knows no field {path}" + (
            f"; {hint}" if (hint := did_you_mean(path, sorted(levels))) else ""
        )
