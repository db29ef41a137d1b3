"""The reference names everything that the code has, and the site builds without another host."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import airflow_pipeline_provider
from airflow_pipeline_provider import exceptions
from airflow_pipeline_provider.cli.commands import COMMANDS
from airflow_pipeline_provider.cli.main import build_parser
from airflow_pipeline_provider.config.loader import load_file
from airflow_pipeline_provider.connectors.registry import BUILT_IN, options_model
from airflow_pipeline_provider.core.record_json import FIELDS
from airflow_pipeline_provider.observability import metrics
from docs import reference

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


# --- nothing is missing


def test_every_key_of_every_connector_is_in_the_reference(pages: dict[str, str]) -> None:
    text = pages["reference/pipeline-file.md"]
    for key in BUILT_IN:
        kind, _, name = key.partition(".")
        section = text.partition(f"## Section {kind}, type {name}\n")[2].partition("\n## ")[0]
        for field_name, field in options_model(kind, name).model_fields.items():
            assert f"| `{field.alias or field_name}` |" in section, (key, field_name)


def test_every_key_has_a_meaning_and_an_example() -> None:
    for section, properties in reference.sections().items():
        for key, value in properties.items():
            assert value.get("description"), f"{section}.{key} has no description"
            if not reference._is_section(section, key):
                assert reference.key_example(section, key, value) is not None, f"{section}.{key}"


def test_every_example_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key of each section is put into a valid pipeline with its example."""
    monkeypatch.setenv("AIRFLOW__PIPELINES__ALLOWED_MODULES", "mycompany.records")
    for section, properties in reference.sections().items():
        for key, value in properties.items():
            if reference._is_section(section, key) or key == "type":
                continue
            example = reference.key_example(section, key, value)
            if reference.key_type(value) == "size":
                example = reference._size(example)
            file = tmp_path / "flights.yaml"
            file.write_text(yaml.safe_dump(with_example(section, key, example)))
            assert load_file(file, options_model=options_model).error is None


SECTIONS: dict[str, dict[str, Any]] = {
    "source.elasticsearch": {"index": "flights-*"},
    "source.sql": {"conn_id": "a", "table": "t", "time_column": "at", "key_columns": ["id"]},
    "stage.object_store": {"path": "s3://aws_default@bucket/flights"},
    "target.duckdb": {"path": "/data/w.duckdb", "table": "main.t"},
    "target.postgres": {"table": "t"},
    "target.snowflake": {"table": "A.B.T", "external_stage": "A.B.S"},
    "state.sql": {"conn_id": "pipeline_state"},
    "state.variable": {},
}


def with_example(section: str, key: str, example: Any) -> dict[str, Any]:
    """Return a pipeline file with one key set."""
    used = {"source": "elasticsearch", "stage": "object_store", "target": "duckdb", "state": "sql"}
    kind, _, name = section.partition(".")
    if kind in used:
        used[kind] = name.partition(".")[0]
    config: dict[str, Any] = {"pipeline_id": "flights_{{ region }}" if key == "matrix" else "flights"}
    for one, connector in used.items():
        config[one] = {"type": connector, **SECTIONS[f"{one}.{connector}"]}
    if kind == "columns":
        types = {"columns": "rows", "format": "date"}
        column = {"name": "A", "path": "a", "type": types.get(key, "text"), key: example}
        rows = {"name": "R", "path": "r", "type": "rows", "columns": [column]}
        config["columns"] = [rows if name else column]
        return config
    if name.endswith(".redact"):
        config["source"]["redact"] = [{"path": "a", "how": "mask", key: example}]
        return config
    place = config
    steps = [kind, *name.split(".")[1:]] if kind in used else section.replace("TASK", "extract").split(".")
    for step in steps if section else []:
        place = place.setdefault(step, {})
    if key == "kms_key_id":
        place["sse"] = "aws:kms"
    if (section, key) == ("source.sql", "query"):
        del place["table"]
    if key == "band":
        place["of_last"] = "4w"
    if key == "end_day":
        config["start_day"] = "2013-11-01"
    place[key] = example
    return config


def test_every_command_and_argument_is_in_the_reference(pages: dict[str, str]) -> None:
    text = pages["reference/commands.md"]
    parser = build_parser()
    (subparsers,) = (action for action in parser._actions if action.choices and action.nargs is not None)
    assert subparsers.choices is not None
    assert set(subparsers.choices) == {command.name for command in COMMANDS}
    for name, command in dict(subparsers.choices).items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert "\nJSON" in section, f"{name}: its function's docstring has no paragraph `JSON: …`"
        for action in command._actions:
            for flag in action.option_strings or [action.metavar or action.dest]:
                assert flag == "-h" or flag == "--help" or f"{flag}" in section, (name, flag)


def test_every_metric_is_in_the_reference(pages: dict[str, str]) -> None:
    names = {
        value for value in vars(metrics).values() if isinstance(value, str) and value.startswith("pipeline.")
    }
    assert names == set(metrics.METRICS)
    assert all(f"| `{name}` |" in pages["reference/metrics.md"] for name in names)


def test_no_metric_is_sent_under_another_name() -> None:
    for path in (ROOT / "airflow_pipeline_provider").rglob("*.py"):
        if path.name != "metrics.py":
            assert not re.search(r"metrics\.(count|gauge|timing)\(\s*[\"']", path.read_text()), path


def test_every_exception_is_in_the_reference(pages: dict[str, str]) -> None:
    tree = ast.parse(Path(exceptions.__file__).read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert names == {error.__name__ for error in reference.error_classes()}
    assert all(f"| `{name}` |" in pages["reference/errors.md"] for name in names)


def test_every_xcom_that_is_pushed_is_in_the_reference() -> None:
    known = {key for _, key in reference.literal("operators/base.py", "XCOMS")}
    for path in (ROOT / "airflow_pipeline_provider" / "operators").glob("*.py"):
        for key in re.findall(r"xcom_push\(\s*key=([\w\"]+)", path.read_text()):
            value = key.strip('"') if key.startswith('"') else constant(key)
            assert value in known, f"{path.name}: {key}"


def constant(name: str) -> str:
    """Return a text constant of the operators by its name."""
    for path in (ROOT / "airflow_pipeline_provider" / "operators").glob("*.py"):
        if found := re.search(rf'^{name} = "(\w+)"', path.read_text(), re.M):
            return found[1]
    raise LookupError(name)


def test_the_fields_of_a_window_record_are_those_of_the_reference() -> None:
    assert set(reference.example_record()) == set(FIELDS)


def test_the_keys_of_an_asset_event_are_those_of_the_reference() -> None:
    source = (ROOT / "airflow_pipeline_provider" / "operators" / "asset_events.py").read_text()
    about = source.partition("def _about(")[2]
    assert re.findall(r'^        "(\w+)":', about, re.M) == list(
        reference.literal("operators/asset_events.py", "EXTRA")
    )


# --- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site strictly: a broken link or anchor and a page that is in no section fail."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """Collect what a browser loads from a page by itself; a link that a reader clicks is not."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag != "a":
            self.urls += [values[name] or "" for name in ("src", "href") if name in values]


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    found = sorted(site.rglob("*.html"))
    assert len(found) > 30
    for page in found:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert [url for url in loaded.urls if re.match(r"(https?:)?//", url)] == [], page


def test_reference_pages_are_in_the_site(site: Path) -> None:
    for path in reference.pages():
        assert (site / path).with_suffix(".html").exists()
    api = (site / "reference" / "api.html").read_text()
    for names in reference.API.values():
        for name in names:
            assert f'id="{name}"' in api


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    api = (site / "reference" / "api.html").read_text()
    named = set(re.findall(r'id="[\w.]+\.(\w+)"', api))
    assert set(airflow_pipeline_provider.__all__) - named == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
