"""A process that preloads leaves nothing heavy to its tasks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_pipeline_provider import preload as module
from airflow_pipeline_provider.connectors.registry import BUILT_IN
from airflow_pipeline_provider.exceptions import ConfigError

SCRIPT = """
import sys
from airflow_pipeline_provider.preload import preload
print(preload("elasticsearch", "object_store", "snowflake", "sql"))
before = set(sys.modules)
from airflow_pipeline_provider import load_pipelines, operators
from airflow_pipeline_provider.connectors.registry import options_model, require
for key in ("source.elasticsearch", "stage.object_store", "target.snowflake", "state.sql"):
    options_model(*key.split("."))
from airflow_pipeline_provider.phases import audit, drain, extract, generate, load, stage, validate
from airflow_pipeline_provider.connectors.snowflake import session
require("airflow.providers.snowflake.hooks.snowflake", "snowflake", "a test")
require("snowflake.connector", "snowflake", "a test")
require("elastic_transport", "elasticsearch", "a test")
import airflow.providers.amazon.aws.fs.s3, s3fs, pyarrow.parquet, sqlalchemy, pandas
print(sorted(name for name in set(sys.modules) - before))
"""


def test_a_task_imports_nothing_heavy_after_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    *_, missing, imported = done.stdout.splitlines()
    assert (missing, imported) == ("[]", "[]")


def test_every_connector_of_this_package_can_be_preloaded() -> None:
    assert {key.partition(".")[2] for key in BUILT_IN} == set(module.CONNECTORS)


def test_a_library_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name == "snowflake.connector":
            raise ImportError(name)

    monkeypatch.setattr(module, "import_module", load)
    assert module.preload("snowflake", "sql") == ["snowflake.connector"]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown connector 'snowflak'; did you mean 'snowflake'"):
        module.preload("snowflak")
