"""Options of source elasticsearch, and where Airflow connections are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_pipeline_provider.connectors.airflow_connections import get_connection
from airflow_pipeline_provider.connectors.elasticsearch.client import index_path
from airflow_pipeline_provider.connectors.elasticsearch.source import ElasticsearchSource
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.exceptions import FatalError


def options(**given: Any) -> Any:
    return ElasticsearchSource.Options.model_validate({"type": "elasticsearch", "index": "flights", **given})


# --- options


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("flights", ("flights",)),
        ("flights-*", ("flights-*",)),
        ("*", ("*",)),
        (["flights", "weather"], ("flights", "weather")),
        (["flights-*", "-flights-2012"], ("flights-*", "-flights-2012")),
        ("cluster:flights-*", ("cluster:flights-*",)),
        (["*:flights-*", "-old:*"], ("*:flights-*", "-old:*")),
        (".ds-flights-2013", (".ds-flights-2013",)),
        ("flüge", ("flüge",)),
        ("it's", ("it's",)),
        ("<flights-{now/d}>", ("<flights-{now/d}>",)),
        ("<flights-{now/d{yyyy.MM.dd|+12:00}}>", ("<flights-{now/d{yyyy.MM.dd|+12:00}}>",)),
        (["flights-*", "-<flights-{now/d}>"], ("flights-*", "-<flights-{now/d}>")),
        ("far:<flights-{now/d}>", ("far:<flights-{now/d}>",)),
        ("flights::failures", ("flights::failures",)),
        ("<flights-{now/d}>::data", ("<flights-{now/d}>::data",)),
    ],
)
def test_indices(given: Any, seen: tuple[str, ...]) -> None:
    assert options(index=given).index == seen


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "index names"),
        ("  ", "index names"),
        ([], "a list of them"),
        (None, "a list of them"),
        (7, "a list of them"),
        ([None], "index names"),
        ("-flights", "must not start"),
        (["-flights"], "must not start"),
        (["flights", "-_all"], "must not start"),
        ("_all", "must not start"),
        ("..", "must not start"),
        ("a b", "must not contain ' '"),
        ("a,b", "write several names as a list"),
        ('a"b', "must not contain"),
        ("a/_delete_by_query", "must not contain '/'"),
        ("a?b", "must not contain"),
        ("a#b", "must not contain"),
        ("<flights-{now/d}", "must be date math such as <logs-{now/d}>"),
        ("<a>/_delete_by_query", "must be date math"),
        ("<a b>", "must be date math"),
        ("a\\b", "must not contain"),
    ],
)
def test_no_index(given: Any, words: str) -> None:
    with pytest.raises(ValidationError, match="index") as caught:
        options(index=given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"page_size": 0},
        {"page_size": 10_001},
        {"page_size": "many"},
        {"page_size": True},
        {"keep_alive": "0s"},
        {"keep_alive": 5},
        {"request_timeout": "soon"},
        {"time_field": ""},
        {"time_field": "  "},
        {"time_field": "a*"},
        {"time_field": "a,b"},
        {"time_field": "a\nb"},
        {"query": "match_all"},
        {"compress": "yes"},
        {"conn_id": ""},
        {"pagesize": 5},
    ],
    ids=str,
)
def test_bad_values(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(given))):
        options(**given)


def test_defaults_and_durations() -> None:
    chosen = options(keep_alive="1m30s")
    assert (chosen.keep_alive, chosen.request_timeout, chosen.page_size) == (90, 60, 5000)
    assert (chosen.conn_id, chosen.time_field, chosen.slices) == (
        "elasticsearch_default",
        "@timestamp",
        "auto",
    )


def test_every_field_is_described() -> None:
    fields = ElasticsearchSource.Options.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []
    assert {"type": "string"} in fields["index"]["anyOf"]


def test_it_is_found_by_name_and_imports_no_vendor_library() -> None:
    assert connector_class("source", "elasticsearch") is ElasticsearchSource
    code = (
        "import sys; import airflow_pipeline_provider.connectors.elasticsearch.source; "
        "print([m for m in ('elastic_transport', 'pyarrow', 'tenacity', 'airflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("indices", "path"),
    [
        (["a", "b-*"], "a,b-*"),
        (["flüge"], "fl%C3%BCge"),
        (["c:a"], "c:a"),
        (["a%b"], "a%25b"),
        (["a&b=c"], "a%26b%3Dc"),
    ],
)
def test_the_path_of_indices(indices: list[str], path: str) -> None:
    assert index_path(indices) == path


# --- where Airflow keeps them


def test_a_connection_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SOME_PLACE", "elasticsearch://kit:p%40ss@es:9201/https?verify_certs=false"
    )
    connection = get_connection("some_place")
    assert (connection.host, connection.port, connection.schema) == ("es", 9201, "https")
    assert (connection.login, connection.password) == ("kit", "p@ss")
    assert connection.extra_dejson == {"verify_certs": "false"}


def test_a_connection_from_the_metadata_database(airflow_db: Path) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="in_the_database", conn_type="elasticsearch", host="es", port=9201))
    assert get_connection("in_the_database").port == 9201


@pytest.mark.parametrize("text", ['{"conn_type": "elasticsearch", "password": "hunter2"', "{hunter2}"])
def test_a_variable_that_is_no_connection_is_named(
    airflow_db: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CUT_OFF", text)
    with pytest.raises(
        FatalError, match="AIRFLOW_CONN_CUT_OFF is set, but cannot be read as a connection"
    ) as caught:
        get_connection("cut_off")
    assert "hunter2" not in str(caught.value)


def test_a_connection_that_is_nowhere(airflow_db: Path) -> None:
    with pytest.raises(FatalError, match="connection 'no_such_place' is not defined") as caught:
        get_connection("no_such_place")
    assert "AIRFLOW_CONN_NO_SUCH_PLACE" in str(caught.value)
