"""Parse the name of a source table as it is written in a pipeline file, and decide which names are one table."""

from __future__ import annotations

import re

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
