"""A hundred pipeline files, one of them broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.real_airflow.conftest import LOADER, World
from tests.integration.real_airflow.rest import wait

pytestmark = pytest.mark.integration

GOOD = """pipeline_id: {id}
start_day: 2013-11-01
source: {{type: elasticsearch, index: some-*}}
stage: {{type: object_store, path: s3://aws_default@lake/{id}}}
target: {{type: snowflake, table: ANALYTICS.RAW.SOME}}
state: {{type: sql, conn_id: pipeline_state}}
"""
BROKEN = GOOD.replace("some-*", "some-*, page_size: 0")
COUNT, ODD_ONE, ANOTHER = 100, 57, 3


class Hundred:
    def __init__(self, world: World) -> None:
        self.airflow = world.airflow
        self.name = f"{world.name}_hundred"
        self.folder = Path(world.airflow.dags_folder) / self.name

    def id(self, number: int) -> str:
        return f"{self.name}_{number:03d}"

    def file(self, number: int) -> Path:
        return self.folder / f"{self.id(number)}.yaml"

    def write(self, number: int, text: str) -> None:
        self.file(number).write_text(text.format(id=self.id(number)))

    def all_but(self, *numbers: int) -> set[str]:
        return {self.id(number) for number in range(COUNT) if number not in numbers}

    def see(self, dags: set[str], broken: set[int]) -> None:
        """Wait until Airflow shows exactly these DAGs, and an import error for each of the broken files."""
        files = {f"{self.name}/{self.file(number).name}" for number in broken}

        def agrees() -> bool:
            return self.dags() == dags and set(self.errors()) == files

        try:
            wait(agrees, f"{len(dags)} DAGs and {len(broken)} import errors")
        except AssertionError:
            assert (self.dags(), set(self.errors())) == (dags, files)

    def dags(self) -> set[str]:
        return set(self.airflow.dags(f"{self.name}%"))

    def errors(self) -> dict[str, str]:
        return self.airflow.import_errors(self.name)


@pytest.fixture
def hundred(world: World) -> Iterator[Hundred]:
    made = Hundred(world)
    made.folder.mkdir()
    for number in range(COUNT):
        made.write(number, BROKEN if number == ODD_ONE else GOOD)
    loader = made.folder.with_suffix(".py")
    loader.write_text(LOADER.format(folder=made.name))
    yield made
    loader.unlink()


def test_one_broken_file_among_a_hundred(hundred: Hundred) -> None:
    hundred.see(hundred.all_but(ODD_ONE), {ODD_ONE})
    (text,) = hundred.errors().values()
    assert f"source.page_size: must be between 1 and 10000, got 0 ({hundred.file(ODD_ONE).name}:3)" in text
    dags = hundred.airflow.dags(f"{hundred.name}%").values()
    assert not [dag["dag_id"] for dag in dags if dag["is_stale"] or dag["has_import_errors"]]
    assert not [
        dag["dag_id"] for dag in dags if dag["next_dagrun_run_after"] is None
    ]  # the scheduler plans them

    hundred.write(ODD_ONE, GOOD)
    hundred.see(hundred.all_but(), set())

    hundred.write(ANOTHER, GOOD.replace("pipeline_id:", "pipeline_id"))  # no YAML mapping any more
    hundred.see(hundred.all_but(ANOTHER), {ANOTHER})
    hundred.file(ANOTHER).unlink()
    hundred.see(hundred.all_but(ANOTHER), set())
