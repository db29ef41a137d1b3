"""The one list of where each connector is tested: its conformance tests, and its part of the crash matrix.

`tests/unit/test_connector_list.py` fails when it does not name exactly the built-in connectors of the registry. The
crash matrix, its page and the hostile documents take their backends from here.
"""

from __future__ import annotations

from typing import NamedTuple


class Tested(NamedTuple):
    """`kits` are modules with conformance classes, `backends` names in the crash matrix (none for a source)."""

    kits: tuple[str, ...]
    backends: tuple[str, ...] = ()


CONNECTORS: dict[str, Tested] = {
    "source.elasticsearch": Tested(
        ("tests/connectors/elasticsearch/test_embedded.py", "tests/integration/test_elasticsearch.py")
    ),
    "source.sql": Tested(
        ("tests/connectors/sql/test_source.py", "tests/integration/test_sql_source_postgres.py")
    ),
    "stage.object_store": Tested(
        ("tests/connectors/object_store/test_stage.py", "tests/integration/test_s3_stage.py")
    ),
    "target.snowflake": Tested(("tests/integration/test_snowflake_target.py",), ("Snowflake",)),
    "target.duckdb": Tested(("tests/connectors/duckdb/test_target.py",), ("DuckDB",)),
    "target.postgres": Tested(("tests/integration/test_postgres_target.py",), ("PostgreSQL",)),
    "state.sql": Tested(
        ("tests/connectors/test_state_sql.py", "tests/integration/test_state_postgres.py"),
        ("PostgreSQL", "SQLite"),
    ),
    "state.variable": Tested(("tests/connectors/test_state_variable.py",), ("variable",)),
}


def crash_matrix(kind: str) -> list[str]:
    """Return the names of the backends of a kind, "state" or "target", in the order of the matrix."""
    return [
        name for key, tests in CONNECTORS.items() if key.startswith(f"{kind}.") for name in tests.backends
    ]
