"""The example connector, installed from its folder as a package of its own, passes its tests.

It is installed beside this environment and not into it, so that no other test finds source `csv`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "csv_source"


def test_the_installed_example_passes_its_tests(tmp_path: Path) -> None:
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        *offline,
        "--target",
        str(tmp_path),
        str(EXAMPLE),
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr

    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(
        tests,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=EXAMPLE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
