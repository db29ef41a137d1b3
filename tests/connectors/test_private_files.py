"""What another user of the machine can do with the files of a stage, a state and a target."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.connectors.registry import connector_class
from airflow_pipeline_provider.exceptions import FatalError
from airflow_pipeline_provider.state.sql import SqlState

IDENTITY = Identity("flights", "UTC")
NOBODY = 65534
IS_ROOT = os.geteuid() == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask under which a file is for every user unless its maker asks for less."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that each user of the machine may enter and read."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def write_part(folder: Path) -> Path:
    cls = connector_class("stage", "object_store")
    stage = cls(cls.Options(type="object_store", path=str(folder / "stage")), IDENTITY)
    stage.write("day/window/part", b"secret rows")
    return folder / "stage/day/window/part"


def write_state(folder: Path) -> Path:
    SqlState.from_url(f"sqlite:///{folder}/state.db", IDENTITY).mint_token()
    return folder / "state.db"


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("write", [write_part, write_state])
def test_another_user_can_neither_read_nor_change_a_file(shared_folder: Path, write) -> None:
    file = write(shared_folder)
    assert mode(file) == 0o600
    if not IS_ROOT:  # only root can act as another user
        return
    before = file.read_bytes()
    for command in ("cat {}", "echo x >> {}", "rm -f {}", "mv {} /tmp/x", "ln -sf /etc/passwd {}"):
        result = subprocess.run(
            ["/bin/sh", "-c", command.format(file)],
            user=NOBODY,
            group=NOBODY,
            capture_output=True,
            check=False,
        )
        assert (result.returncode != 0, result.stdout) == (True, b""), command
        assert file.read_bytes() == before


def test_a_folder_that_another_user_made_first_is_refused(shared_folder: Path) -> None:
    (shared_folder / "stage").mkdir()
    if IS_ROOT:
        os.chown(shared_folder / "stage", NOBODY, NOBODY)
    else:  # a user cannot give a folder away; one that each user may write into is refused for the same reason
        (shared_folder / "stage").chmod(0o777)
    with pytest.raises(FatalError, match="replace the files"):
        write_part(shared_folder)
    assert list((shared_folder / "stage").iterdir()) == []


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_duckdb_file_follows_the_umask(tmp_path: Path, umask: int, expected: int) -> None:
    before = os.umask(umask)
    try:
        cls = connector_class("target", "duckdb")
        target = cls(cls.Options(type="duckdb", path=str(tmp_path / "lake.duckdb"), table="EVENTS"), IDENTITY)
        target.prepare()
    finally:
        os.umask(before)
    assert mode(tmp_path / "lake.duckdb") == expected


def test_duckdb_spills_next_to_its_file_and_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the user's own DuckDB, or of the folder where the process runs, are not inherited."""
    monkeypatch.chdir(tmp_path)
    opened: list[duckdb.DuckDBPyConnection] = []
    connect = duckdb.connect

    def remember(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(duckdb, "connect", remember)
    cls = connector_class("target", "duckdb")
    target = cls(cls.Options(type="duckdb", path=str(tmp_path / "lake.duckdb"), table="EVENTS"), IDENTITY)
    target.prepare()
    (engine,) = opened
    for name, expected in (
        ("temp_directory", f"{tmp_path}/lake.duckdb.tmp"),
        ("autoinstall_known_extensions", False),
        ("python_enable_replacements", False),
    ):
        assert engine.execute("SELECT current_setting(?)", [name]).fetchone() == (expected,)
