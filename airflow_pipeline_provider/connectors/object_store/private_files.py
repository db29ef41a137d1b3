"""Create and open files that no other user of the machine can read, replace or delete."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_WORLD_WRITABLE = stat.S_IWOTH


class UnsafeFolderError(OSError):
    """Another user could replace files in the folder."""


def make_folders(folder: Path, mode: int) -> None:
    """Create the folder, and each that is missing above it, with the mode (less the umask).

    Raise FileNotFoundError if another process removed one of them again in the meantime.
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
    """Raise UnsafeFolderError if another user could replace the folder.

    A user other than this one and root owns it or one above it, or could write into one above it.  A sticky bit
    protects what is in a folder that everybody may write to, such as `/tmp`.
    """
    for place in (folder, *folder.parents):
        _check(place, place.lstat())
        _check(place, place.stat())


def _check(place: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise UnsafeFolderError(
            f"{place} belongs to user id {status.st_uid}, who could replace the files: choose a "
            "stage.path below a folder of this user, or set stage.shared: true if every user there is trusted"
        )
    open_to_all = status.st_mode & _WORLD_WRITABLE and not status.st_mode & stat.S_ISVTX
    if open_to_all and stat.S_ISDIR(status.st_mode):
        raise UnsafeFolderError(
            f"every user may write into {place} and replace the files: choose a stage.path below a folder of this "
            "user, or set stage.shared: true if every user there is trusted"
        )


@contextmanager
def opened(root: Path, names: Sequence[str]) -> Iterator[int]:
    """Open the folder below `root` without following symbolic links, and yield its descriptor."""
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
