"""An exit of the user's code is an error; one by Airflow, or by Ctrl-C, stays what it is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from airflow_pipeline_provider.config.functions import import_file_function, import_function
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.exits import ExitedError, Killed, exits_as_errors


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        pytest.param(SystemExit(0), r"it ended with sys\.exit\(0\): return to continue", id="sys.exit(0)"),
        pytest.param(SystemExit(), r"sys\.exit\(None\)", id="sys.exit()"),
        pytest.param(SystemExit(3), r"sys\.exit\(3\)", id="sys.exit(3)"),
        pytest.param(SystemExit("no rows"), r"sys\.exit\('no rows'\)", id="with a text"),
        pytest.param(GeneratorExit(), "GeneratorExit", id="GeneratorExit"),
        pytest.param(asyncio.CancelledError(), "CancelledError", id="cancelled"),
    ],
)
def test_an_exit_is_an_error(ending: BaseException, message: str) -> None:
    with pytest.raises(ExitedError, match=message) as caught, exits_as_errors():
        raise ending
    assert caught.value.__cause__ is ending


@pytest.mark.parametrize("ending", [Killed("Airflow ended it"), KeyboardInterrupt(), ValueError("a value")])
def test_what_is_no_exit_of_the_code_passes(ending: BaseException) -> None:
    with pytest.raises(type(ending)) as caught, exits_as_errors():
        raise ending
    assert caught.value is ending


def test_a_module_that_exits_while_it_is_imported_is_an_error_of_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PIPELINES__ALLOWED_MODULES", "./ exiting_module")
    code = "import sys\n\ndef gate(window): ...\n\nsys.exit(0)\n"
    (tmp_path / "exiting_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^own_tasks\.after_load: file 'exiting_module\.py' raised .*exit\(0\)"
    ):
        import_file_function("own_tasks.after_load", tmp_path, "exiting_module.py", "gate")
    with pytest.raises(ConfigError, match=r"^record_functions\.A: .* cannot be imported: .*exit\(0\)"):
        import_function("record_functions.A", "exiting_module:gate")
    assert "exiting_module" not in sys.modules
