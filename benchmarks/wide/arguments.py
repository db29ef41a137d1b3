"""What every contestant of `wide` is told."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(description: str | None) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--count", type=int, required=True, help="tasks, or windows, side by side")
    found.add_argument("--workers", type=int, nargs="+", required=True, help="ids of the workers' processes")
    found.add_argument("--work", type=Path, default=Path(), help="the folder that holds the stages")
    found.add_argument("--database", default="", help="URL of the database with target and state")
    return found
