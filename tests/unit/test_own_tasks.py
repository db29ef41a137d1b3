"""Find functions of `own_tasks`, and refuse those that are missing or not allowed."""

# ruff: noqa: E501  (one case a line, whatever its sentence needs)

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_pipeline_provider.config.functions import file_function_problem, import_file_function
from airflow_pipeline_provider.config.loader import ConfigFileError, load_pipeline
from airflow_pipeline_provider.exceptions import ConfigError
from tests.unit.config_examples import LEAST, options_model

ALLOWED = "AIRFLOW__PIPELINES__ALLOWED_MODULES"


def problem(folder: Path, path: str) -> str:
    file = folder / "flights.yaml"
    file.write_text(f"{LEAST}own_tasks:\n  after_load: {path}\n")
    with pytest.raises(ConfigFileError) as caught:
        load_pipeline(file, options_model=options_model)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("5", "must be text, got 5 (put it in quotes)"),
        ("checks", "must be a function such as mycompany.checks:no_nulls, or ./checks.py:no_nulls for a file next to the pipeline file, got 'checks'"),
        ("checks.py:no nulls", "must be a function such as mycompany.checks:no_nulls, or ./checks.py:no_nulls for a file next to the pipeline file, got 'checks.py:no nulls'"),
        ("os.system", "module 'os' is not allowed: add it or a package above it to the deployment's [pipelines] allowed_modules (AIRFLOW__PIPELINES__ALLOWED_MODULES), which allows ./, mycompany"),
        ("/etc/checks.py:a", "must be a file in the folder of the pipeline file, such as ./checks.py:no_nulls, got '/etc/checks.py'"),
        ("../checks.py:a", "must be a file in the folder of the pipeline file, such as ./checks.py:no_nulls, got '../checks.py'"),
        ("link.py:a", "'link.py' leads out of the folder of the pipeline file"),
        ("gone.py:a", "file 'gone.py' cannot be read: No such file or directory"),
        ("checks.py:other", "file 'checks.py' defines no function 'other'"),
        ("checks.py:later", "function 'later' of file 'checks.py' must be a plain function, not async"),
        ("bad.py:a", "bad.py:2 is not valid Python: invalid syntax"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_used_is_an_error_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, expected: str
) -> None:
    monkeypatch.setenv(ALLOWED, "./, mycompany")
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (tmp_path / "outside.py").write_text("def a(w): ...\n")
    (folder / "link.py").symlink_to(tmp_path / "outside.py")
    (folder / "checks.py").write_text("def a(w): ...\nasync def later(w): ...\n")
    (folder / "bad.py").write_text("\nx = = 1\n")
    assert problem(folder, path) == f"own_tasks.after_load: {expected} (flights.yaml:6)"


def test_files_need_the_consent_of_the_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOWED, raising=False)
    (tmp_path / "checks.py").write_text("def a(w): ...\n")
    assert problem(tmp_path, "checks.py:a") == (
        "own_tasks.after_load: Python files next to pipeline files are not allowed: add ./ to the deployment's "
        "[pipelines] allowed_modules (AIRFLOW__PIPELINES__ALLOWED_MODULES) (flights.yaml:6)"
    )


def test_an_unknown_place_has_a_suggestion(tmp_path: Path) -> None:
    file = tmp_path / "flights.yaml"
    file.write_text(f"{LEAST}own_tasks: {{after_laod: a.b}}\n")
    with pytest.raises(
        ConfigFileError, match=r"own_tasks\.after_laod: unknown key; did you mean 'after_load'"
    ):
        load_pipeline(file, options_model=options_model)


@pytest.mark.parametrize(
    "line", ["def a(w): ...", "class a: ...", "a = print", "from os import path as a", "import a"]
)
def test_names_of_a_file_are_found_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv(ALLOWED, "./")
    (tmp_path / "checks.py").write_text(f"raise SystemExit\n{line}\n")
    assert file_function_problem(tmp_path, "./checks.py", "a") is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a = 1", "own_tasks.after_day: 'a' of 'checks.py' must be a function, got int"),
        ("import nothing_of_this_name as a", "own_tasks.after_day: file 'checks.py' raised ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    ],
)  # fmt: skip
def test_a_file_that_fails_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: str
) -> None:
    monkeypatch.setenv(ALLOWED, "./")
    (tmp_path / "checks.py").write_text(code)
    with pytest.raises(ConfigError) as caught:
        import_file_function("own_tasks.after_day", tmp_path, "checks.py", "a")
    assert caught.value.message == expected
