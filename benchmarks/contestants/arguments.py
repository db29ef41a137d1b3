"""What the contestants of an extraction are told on their command line."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(description: str | None) -> argparse.ArgumentParser:
    """The server, and how many of the index's documents go to which folder; more can be added."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--url", required=True)
    made.add_argument("--index", default="bench")
    made.add_argument("--docs", type=int, required=True)
    made.add_argument("--out", type=Path, required=True)
    return made
