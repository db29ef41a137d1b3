"""Files that no other user of the machine can read, exchange, or have deleted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_WORLD_WRITABLE = stat.S_IWOTH


class UnsafeFolderError(OSError):
    """Another user could put other files in the place of ours."""


def make_folders(folder: Path, mode: int) -> None:
    """Make the folder, and each that is missing above it, with the mode (less the umask).

    Raises FileNotFoundError where another process removed one of them again in the meantime.
    """
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        with suppress(FileExistsError):  # another process made it in the meantime
            one.mkdir(mode)
    if missing and not stat.S_ISDIR(missing[0].stat().st_mode):
        raise NotADirectoryError(20, "is not a folder", str(missing[0]))


def check_owner(folder: Path) -> None:
    """Raise UnsafeFolderError if a user other than this one and root owns the folder or one above it, or could write
    into one above it (`/tmp`, whose sticky bit protects what is in it, may be written by everybody)."""
    for place in (folder, *folder.parents):
        _check(place, place.lstat())
        _check(place, place.stat())


def _check(place: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise UnsafeFolderError(
            f"{place} belongs to user id {status.st_uid}, who could exchange the files: choose a "
            "stage.path below a folder of this user, or set stage.shared: true if every user there is trusted"
        )
    open_to_all = status.st_mode & _WORLD_WRITABLE and not status.st_mode & stat.S_ISVTX
    if open_to_all and stat.S_ISDIR(status.st_mode):
        raise UnsafeFolderError(
            f"every user may write into {place} and exchange the files: choose a stage.path below a folder of this "
            "user, or set stage.shared: true if every user there is trusted"
        )


@contextmanager
def opened(root: Path, names: Sequence[str]) -> Iterator[int]:
    """Open the folder below `root` without following a symbolic link in one of its names; yield its descriptor."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open(root, flags)
    try:
        for name in names:
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)
