"""Load windows of rows into a table of a SQLite file."""

from sqlite_target.target import SqliteTarget

__all__ = ["SqliteTarget"]
