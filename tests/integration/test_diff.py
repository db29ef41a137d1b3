"""`diff` between Elasticsearch (ELASTICSEARCH_URL) and PostgreSQL (POSTGRES_URL) or Snowflake (SNOWFLAKE_HOST)."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from airflow_pipeline_provider.cli.main import main
from tests.connectors.elasticsearch.places import CONN_ID, ElasticsearchTests, Server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The 'insecure_mode' connection property is deprecated"),
]

DAY = ("--from", "2013-11-03", "--to", "2013-11-03")
EXACT = '{"ts":1383454800000,"b":1.50,"a":"ü🛫\\u00fc","deep":{"z":[1,{"n":null}],"y":12345678901234567}}'
LONG = '{"ts":1383454800000,"n":0.1000000000000000055511151231257827}'


@pytest.fixture
def warehouse(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setenv("AIRFLOW_CONN_DIFF_TARGET", postgres["POSTGRES_URL"])
    schema = f"diff_{uuid.uuid4().hex[:8]}"
    yield {"type": "postgres", "conn_id": "diff_target", "table": f"{schema}.flights"}
    with psycopg.connect(postgres["POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")  # type: ignore[arg-type]


class TestDiff(ElasticsearchTests):
    @pytest.fixture
    def url(self) -> str:
        return os.environ["ELASTICSEARCH_URL"].rstrip("/")

    @pytest.fixture(params=["postgres", "snowflake"])
    def target(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        if request.param == "postgres":
            found: dict[str, Any] = request.getfixturevalue("warehouse")
            return found
        request.getfixturevalue("snowflake")
        return {"type": "snowflake", "conn_id": "snowflake_default", "table": f"DIFF_{uuid.uuid4().hex[:8]}"}

    def test_what_counts_cannot_see_is_found_and_repaired(
        self,
        server: Server,
        target: dict[str, Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_DIFF_STATE", f"sqlite:///{tmp_path}/state.db")
        index = server.index(properties={"deep": {"type": "object", "enabled": False}})
        server.put(index, {f"d{n}": f'{{"ts":{1383454800000 + n},"n":{n}}}' for n in range(300)})
        server.put(index, {"exact": EXACT, "long": LONG})
        (tmp_path / "stage").mkdir(mode=0o700)
        file = tmp_path / "flights.yaml"
        file.write_text(
            yaml.safe_dump(
                {
                    "pipeline_id": f"diff_{uuid.uuid4().hex[:8]}",
                    "granularity": "1d",
                    "start_day": "2013-11-03",
                    "end_day": "2013-11-03",
                    "source": {
                        "type": "elasticsearch",
                        "conn_id": CONN_ID,
                        "index": index,
                        "time_field": "ts",
                        "page_size": 70,
                    },
                    "stage": {"type": "object_store", "path": str(tmp_path / "stage")},
                    "target": target,
                    "state": {"type": "sql", "conn_id": "diff_state"},
                }
            )
        )

        def diff(*words: str) -> tuple[int, dict[str, Any]]:
            capsys.readouterr()
            code = main(["diff", str(file), *DAY, "-o", "json", *words])
            out, err = capsys.readouterr()
            assert out, err
            return code, json.loads(out)

        assert main(["run", str(file)]) == 0
        code, found = diff()
        assert (code, found["result"], found["source"], found["target"]) == (0, "equal", 302, 302)

        server.put(index, {"d7": '{"ts":1383454800007,"n":"changed"}', "late": '{"ts":1383454800000}'})
        server.remove(index, ["d9"])
        code, found = diff()
        assert (code, found["result"]) == (1, "differs")
        assert {(one["kind"], one["record_id"]) for one in found["windows"][0]["records"]} == {
            ("missing", f"{index}/late"),
            ("extra", f"{index}/d9"),
        }
        code, found = diff("--content")
        [window] = found["windows"]
        assert ("different", f"{index}/d7") in {(one["kind"], one["record_id"]) for one in window["records"]}
        assert (window["missing"], window["extra"], window["different"]) == (1, 1, 1)

        code, found = diff("--content", "--repair", "--here")
        assert (code, found["windows"][0]["status"]) == (4, None)
        code, found = diff("--content", "--repair", "--here", "--accept-shrink")
        assert (code, found["windows"][0]["status"]) == (0, "committed")
        code, found = diff("--content")
        unproven = sum(one["unproven"] for one in found["windows"])
        assert (code, found["result"], unproven) in {(0, "equal", 0), (1, "incomplete", 1)}
        if target["type"] == "postgres":
            assert code == 0
