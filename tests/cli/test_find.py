"""Which pipeline is meant, and where it is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_pipeline_provider.cli.catalog import dags_folder, load_all, load_one
from airflow_pipeline_provider.exceptions import ConfigError
from tests.cli.conftest import Place


@pytest.mark.parametrize(
    ("environment", "cfg", "expected"),
    [
        pytest.param({"AIRFLOW__CORE__DAGS_FOLDER": "{tmp}/mine"}, None, "mine", id="environment"),
        pytest.param(
            {"AIRFLOW__CORE__DAGS_FOLDER": "$BASE/mine", "BASE": "{tmp}"}, None, "mine", id="variable-in-it"
        ),
        pytest.param(
            {"AIRFLOW_HOME": "{tmp}"}, "[core]\ndags_folder = {tmp}/of_cfg\n", "of_cfg", id="airflow.cfg"
        ),
        pytest.param(
            {"AIRFLOW_HOME": "{tmp}"},
            "[core]\n# dags_folder = /else\n[logging]\nf = %(x)s %%\n",
            "dags",
            id="commented-out",
        ),
        pytest.param({"AIRFLOW_HOME": "{tmp}"}, None, "dags", id="home"),
        pytest.param({"HOME": "{tmp}"}, None, "airflow/dags", id="nothing-set"),
        pytest.param(
            {"AIRFLOW_HOME": "/none", "AIRFLOW_CONFIG": "{tmp}/airflow.cfg"},
            "[core]\ndags_folder = {tmp}/x\n",
            "x",
            id="config-elsewhere",
        ),
    ],
)
def test_dags_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    cfg: str | None,
    expected: str,
) -> None:
    for name in ("AIRFLOW_HOME", "AIRFLOW_CONFIG", "AIRFLOW__CORE__DAGS_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("{tmp}", str(tmp_path)))
    if cfg is not None:
        (tmp_path / "airflow.cfg").write_text(cfg.replace("{tmp}", str(tmp_path)))
    assert dags_folder() == tmp_path / expected


def test_an_unreadable_airflow_cfg_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__CORE__DAGS_FOLDER")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    (tmp_path / "airflow.cfg").write_text("no section\n")
    with pytest.raises(ConfigError, match=r"airflow\.cfg cannot be read .*--folder DIR"):
        dags_folder()


@pytest.mark.parametrize(
    ("pipeline", "sentence"),
    [
        pytest.param("flihgts", r"no pipeline 'flihgts' .* did you mean 'flights'\?", id="typo"),
        pytest.param("zebra", r"known: broken, flights, weather", id="nothing-near"),
        pytest.param("brokne", r"did you mean 'broken'\?", id="a-broken-file-is-known-too"),
        pytest.param("./flights.yaml", r"file './flights.yaml' does not exist", id="path"),
        pytest.param("broken", r"granularity: must be .*\(broken.yaml:3\)", id="broken"),
    ],
)
def test_unknown_pipelines(place: Place, pipeline: str, sentence: str) -> None:
    place.write("flights")
    place.write("weather", file="deep/er/weather.yaml")
    place.write("broken", granularity=0)
    with pytest.raises(ConfigError, match=sentence):
        load_one(pipeline, str(place.folder))


def test_an_id_or_a_path(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place.write("weather", file="deep/er/named_otherwise.yml")
    assert load_one("weather", str(place.folder)).file == file
    assert load_one(str(file), None).config.pipeline_id == "weather"
    monkeypatch.chdir(file.parent)
    assert load_one("named_otherwise.yml", None).config.pipeline_id == "weather"


def test_an_id_in_two_folders_must_be_named_by_its_path(place: Place) -> None:
    first, second = place.write(file="a/flights.yaml"), place.write(file="b/flights.yaml")
    with pytest.raises(ConfigError, match=f"{first} and {second}: name one of the files"):
        load_one("flights", str(place.folder))
    assert load_one(str(second), None).file == second


def test_links_that_go_round_end(place: Place) -> None:
    place.write(file="real/flights.yaml")
    (place.folder / "real" / "again").symlink_to(place.folder)
    catalog = load_all(str(place.folder))
    assert list(catalog.pipelines) == ["flights"]
    assert catalog.errors == {}


def test_hidden_folders_and_caches_are_passed_over(place: Place) -> None:
    place.write("seen")
    place.write("unseen", file=".git/unseen.yaml")
    assert list(load_all(str(place.folder)).pipelines) == ["seen"]


def test_the_folder_that_was_given_is_read_even_without_a_readable_id(place: Place) -> None:
    (place.folder / "torn.yaml").write_text("{")
    assert [file.name for file in load_all(str(place.folder)).errors] == ["torn.yaml"]


def test_an_existing_folder_named_like_a_variable_is_used_unchanged(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "$PLACE"
    folder.mkdir()
    file = place.write()
    (folder / file.name).write_text(file.read_text())
    assert load_one("flights", str(folder)).file == folder / file.name
    monkeypatch.setenv("PLACE", str(file.parent))
    assert load_one("flights", "$PLACE").file == file
    assert load_one(str(folder / file.name), None).file == folder / file.name
