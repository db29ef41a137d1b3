"""Compare datasets: is a source or target still the same, do two pipelines share it, which names are one table.

A *dataset* is a JSON object that names the data without credentials: the connector's type, the connection's id, the
server and database that the connection leads to, and the index, table, path or query of the pipeline file. Of a
database in a file, `file` is its path without links and `..`: two spellings of one path are no change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

Dataset = Mapping[str, Any]
Days = tuple[str | None, str | None]
"""First and last day of a pipeline as ISO dates; None is unbounded."""

_WHERE = ("conn_id", "server", "file", "dialect")
_IN_FILE = ("database", "path")  # the file again, as it was written
_RESOLVED = ("database", "schema")  # by the connection, where it names them
_TEXTS = ("query",)


def fingerprint(value: object) -> str | None:
    """Return a short hash of a query (its white space does not count), None for None."""
    if value is None:
        return None
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changes(kind: str, before: Dataset, now: Dataset) -> list[str]:
    """Return one phrase for each key that names other data than before; `kind` is "source" or "target".

    Only what both know counts, so a newer version may add keys.  A connection may be renamed as long as it leads to
    the same server, and the server of a connection may move: only both at once is a change.
    """
    same_file = _same_file(before, now)
    ignored = {*_WHERE, *(_IN_FILE if same_file else ())}
    found = [
        f"{kind}.{key} has changed"
        if key in _TEXTS
        else f"{kind}.{key} was {_shown(before[key])} and is {_shown(now[key])}"
        for key in sorted(set(before) & set(now) - ignored)
        if before[key] != now[key]
        and not (key in _RESOLVED and None in (before[key], now[key]))
        and not (key == "table" and _is_one_name(before[key], now[key]))
    ]
    servers = [dataset.get("server") for dataset in (before, now)]
    renamed = before.get("conn_id") != now.get("conn_id")
    if renamed and not same_file and None not in servers and servers[0] != servers[1]:
        found.append(
            f"{kind}.conn_id was {_shown(before.get('conn_id'))} ({servers[0]}) and is {_shown(now.get('conn_id'))} "
            f"({servers[1]})"
        )
    return found


def overlap(one: Dataset, other: Dataset) -> bool:
    """Return whether two sources give some of the same rows.

    Indices are compared by name and pattern, tables by `table_key`: names that may be one table overlap.  Different
    filters may be disjoint, so they do not overlap.
    """
    if one.get("type") != other.get("type") or not _same_database(one, other):
        return False
    filters = {one.get("query"), other.get("query")} - {None}
    if len(filters) > 1:
        return False
    tables = _tables(one, other)
    if tables is not None:
        return tables[0] == tables[1]
    names, others = _names(one), _names(other)
    if not names and not others:
        return one.get("query") is not None and one.get("query") == other.get("query")
    return any(
        (fnmatchcase(a, b) or fnmatchcase(b, a)) and not _excluded(a, other) and not _excluded(b, one)
        for a in names
        for b in others
    )


def other_spelling(one: Dataset, other: Dataset) -> str:
    """Return why two sources that overlap are one table although their names differ, "" if the names are equal."""
    names = [dataset.get("table") for dataset in (one, other)]
    if None in names or names[0] == names[1]:
        return ""
    return f"the names {names[0]!r} and {names[1]!r} mean one table wherever the database ignores case and quotes"


def days_overlap(one: Days, other: Days) -> bool:
    """Return whether two pipelines move a common day."""
    first = max(one[0] or "", other[0] or "")
    return all(first <= last for last in (one[1], other[1]) if last is not None)


def _is_one_name(one: object, other: object) -> bool:
    """Return whether two names of a table differ only in how they are quoted."""
    try:
        return table_parts(str(one)) == table_parts(str(other))
    except ValueError:  # as a connector of another package wrote it
        return False


def _same_file(one: Dataset, other: Dataset) -> bool:
    return one.get("file") is not None and one.get("file") == other.get("file")


def _same_database(one: Dataset, other: Dataset) -> bool:
    if _same_file(one, other):
        return True
    databases = {one.get("database"), other.get("database")} - {None}
    if len(databases) > 1:
        return False
    if one.get("conn_id") == other.get("conn_id"):
        return True
    return one.get("server") is not None and one.get("server") == other.get("server")


def _tables(one: Dataset, other: Dataset) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the keys of both tables, None unless both name one.  A record of an older version has no dialect."""
    tables = [dataset.get("table") for dataset in (one, other)]
    if None in tables:
        return None
    dialect = one.get("dialect") or other.get("dialect")
    first, second = (
        table_key(str(table), dialect, dataset.get("database"), dataset.get("schema"))
        for table, dataset in zip(tables, (one, other), strict=True)
    )
    return first, second


def _names(dataset: Dataset) -> list[str]:
    return [name for name in _listed(dataset) if not name.startswith("-")]


def _excluded(name: str, dataset: Dataset) -> bool:
    return any(fnmatchcase(name, other[1:]) for other in _listed(dataset) if other.startswith("-"))


def _listed(dataset: Dataset) -> Iterable[str]:
    listed: Iterable[str] = dataset.get("index") or []
    return listed


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."


# Databases in which a quoted name keeps its case. Source `sql` quotes every name; any other database may ignore case.
_KEEP_CASE = {"postgres", "oracle", "snowflake"}
_DEFAULT_SCHEMA = {"sqlite": "main", "postgres": "public", "mssql": "dbo"}

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".]+))\s*')


def table_parts(name: str) -> list[str]:
    """Return the parts of `schema.table`, each as the database has it; a part with a dot is in double quotes.

    ValueError for an empty part or a quote that is not one of a pair around a part.
    """
    parts, position = [], 0
    while True:
        match = _PART.match(name, position)
        part = match and (match[1].replace('""', '"') if match[1] else match[2].strip())
        if not match or not part or name[match.end() : match.end() + 1] not in ("", "."):
            raise ValueError(
                'must be a table such as weather, public.weather or public."my.table": parts between dots, each '
                f'without double quotes or whole in a pair of them ("" inside is one), got {name!r}'
            )
        parts.append(part)
        position = match.end() + 1
        if match.end() == len(name):
            return parts


def table_key(
    name: str, dialect: str | None, database: str | None = None, schema: str | None = None
) -> tuple[str, ...]:
    """Return a key that is equal for two names of one table of a database of this dialect (a connection type).

    Names that may be one table get one key: where the database may ignore case, case does not count. A missing schema
    is the connection's `schema` or the dialect's usual one, in MySQL the `database`. With dialect None only the exact
    text counts.
    """
    if dialect is None:
        return (name,)
    parts = table_parts(name)
    default = schema or (database if dialect == "mysql" else _DEFAULT_SCHEMA.get(dialect))
    if len(parts) == 1 and default is not None:
        parts.insert(0, default)
    return tuple(part if dialect in _KEEP_CASE else part.casefold() for part in parts)
