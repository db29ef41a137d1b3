"""The connectors in memory meet the same contracts as the real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.testing.stage_kit import StageConformance
from airflow_pipeline_provider.testing.target_kit import TargetConformance
from tests.doubles.memory_stage import MemoryFiles, MemoryStage
from tests.doubles.memory_target import MemoryTarget, MemoryWarehouse


class TestMemoryTarget(TargetConformance):
    @pytest.fixture
    def warehouse(self) -> MemoryWarehouse:
        return MemoryWarehouse()

    @pytest.fixture
    def make_target(self, warehouse: MemoryWarehouse) -> Callable[[str], MemoryTarget]:
        return lambda pipeline_id: MemoryTarget(identity=Identity(pipeline_id, "UTC"), warehouse=warehouse)

    @pytest.fixture
    def fetch(self, warehouse: MemoryWarehouse) -> Callable[[str], list[dict[str, Any]]]:
        return lambda suffix: [
            row.to_dict() for row in (warehouse.latest() if suffix else list(warehouse.rows))
        ]

    @pytest.fixture
    def make_other_shape(self, warehouse: MemoryWarehouse) -> Callable[[], None]:
        def make() -> None:
            warehouse.columns = {"RECORD_ID": "ANY", "BODY": "INTEGER"}

        return make


class TestMemoryStage(StageConformance):
    @pytest.fixture
    def stage(self) -> MemoryStage:
        return MemoryStage()

    def test_changes_by_another_stage_object_are_visible_immediately(self, stage: MemoryStage) -> None:
        files = MemoryFiles()
        one, other = MemoryStage(files=files), MemoryStage(files=files)
        other.write("shared/a", b"1")
        assert one.read("shared/a") == b"1"
        other.delete(["shared/a"])
        assert one.list("shared") == []
