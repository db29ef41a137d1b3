"""Compute what is complete, what is missing and why: the one read model of every command that shows it."""

__all__: list[str] = []
