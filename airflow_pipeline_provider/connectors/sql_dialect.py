"""How databases differ in SQL: quoting, placeholders, allowed names and column types."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from airflow_pipeline_provider.core.datasets import table_parts


@dataclass(frozen=True)
class Dialect:
    """Quote names and mark bound values for one database.

    Attributes:
        name: Type of the Airflow connection, such as "postgres".
        placeholder: Mark of a bound value, "?" or "%s".
        quoting: Format of a quoted name: '"{}"', "`{}`" or "[{}]".
    """

    name: str
    placeholder: str = "?"
    quoting: str = '"{}"'

    def escape_percent(self, sql: str) -> str:
        """Return SQL in which no percent sign is read as a placeholder."""
        return sql.replace("%", "%%") if self.placeholder == "%s" else sql

    def quoted(self, name: str) -> str:
        """Quote a name; its case is kept."""
        close = self.quoting[-1]
        return self.escape_percent(self.quoting.format(name.replace(close, close * 2)))

    def table(self, name: str) -> str:
        """Quote each part of `schema.table`."""
        return ".".join(self.quoted(part) for part in table_parts(name))


@dataclass(frozen=True)
class ObjectName:
    """A checked name of one or more parts; `str()` returns it quoted for SQL."""

    parts: tuple[str, ...]
    quoting: str = '"{}"'

    def __str__(self) -> str:
        return ".".join(self.quoting.format(part) for part in self.parts)

    @property
    def last(self) -> str:
        """Return the name without its schema and database."""
        return self.parts[-1]

    @property
    def schema(self) -> ObjectName | None:
        """Return the name of the schema, None for a name of one part."""
        return replace(self, parts=self.parts[:-1]) if len(self.parts) > 1 else None

    def sibling(self, suffix: str) -> ObjectName:
        """Return the name of another object of the same schema: this name with a suffix."""
        return replace(self, parts=(*self.parts[:-1], self.last + suffix))


@dataclass(frozen=True, kw_only=True)
class TargetDialect(Dialect):
    """Types, names and statements of a database that windows are loaded into.

    Attributes:
        text, instant, body, integer: Column types, as the database describes them.  An `instant` must not depend
            on the session's time zone; instants are bound as `2013-11-03T05:30:00.000000Z` and cast to it, so text
            sorts by time.
        counted_id: Column or expression to count distinct record ids by; by default the quoted RECORD_ID.
        create_view: Words that create a view.
        keep_grants: Words after the name of a view that is replaced, so that its grants stay.
        read_instant: Format of a selected instant; the client must get a datetime, microseconds since 1970, or
            ISO 8601 text with an offset.
        now: The current time as an instant.
        bare_part, quoted_part: Patterns of a name's parts without and in quotes.  None may match a quote.
        folds_to_upper: The database stores parts without quotes in upper case.
        longest_part: Most characters of a part, suffixes such as `_COMMITS` not counted.
        body_hash: Format of the hexadecimal SHA-256 of BODY's bytes; without one BODY is read and hashed.
        body_json: Format of BODY as JSON text, in a database that keeps its content and not its bytes.
        longest_name: Most characters of a part, suffixes counted.
        ddl_commits: A statement that changes a table's columns commits the open transaction first.
    """

    text: str
    instant: str
    body: str
    integer: str
    counted_id: str = ""
    create_view: str = "CREATE VIEW IF NOT EXISTS"
    keep_grants: str = ""
    read_instant: str = "{}"
    now: str = "CURRENT_TIMESTAMP"
    body_hash: str = ""
    body_json: str = ""
    bare_part: str = r"[A-Za-z_][A-Za-z0-9_$]*"
    quoted_part: str = r"[A-Za-z0-9_$-](?:[A-Za-z0-9_$ -]*[A-Za-z0-9_$-])?"
    name_rule: str = (
        "a name of one to three parts with dots between them (ANALYTICS.RAW.FLIGHTS), each of letters, digits, _ "
        "and $ and not beginning with a digit, or in double quotes of letters, digits, _, $, - and spaces"
    )
    folds_to_upper: bool = False
    longest_part: int = 240  # with the suffixes below the 255 of Snowflake
    longest_name: int = 255
    ddl_commits: bool = False

    def parse_name(self, text: str) -> ObjectName:
        """Parse `ANALYTICS.RAW.FLIGHTS` or `ANALYTICS.raw."flights-2"`.

        Raises:
            ValueError: The text is not such a name.
        """
        opening, closing = (re.escape(mark) for mark in self.quoting.split("{}"))
        part = re.compile(f"{opening}({self.quoted_part}){closing}|({self.bare_part})")
        found = re.fullmatch(rf"(?:{part.pattern})(?:\.(?:{part.pattern}))*", text) and part.findall(text)
        if not found or len(found) > 3 or any(len(q or bare) > self.longest_part for q, bare in found):
            raise ValueError(f"must be {self.name_rule}, got {text!r}")
        upper = self.folds_to_upper
        return self.object_name(*(q or (bare.upper() if upper else bare) for q, bare in found))

    def object_name(self, *parts: str) -> ObjectName:
        """Return the name with these parts, which must be checked already."""
        return ObjectName(parts, self.quoting)
