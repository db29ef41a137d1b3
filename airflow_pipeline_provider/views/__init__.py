"""Compute what is complete, what is missing and why, for every command that shows it."""

__all__: list[str] = []
