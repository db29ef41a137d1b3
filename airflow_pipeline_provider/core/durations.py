"""Durations as people write them: `1d2h30m20s`."""

from __future__ import annotations

import re
from typing import NamedTuple

SECONDS_OF_DAY = 86_400
_UNITS = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?", re.ASCII)


class Duration(NamedTuple):
    """`days` are calendar days, `seconds` is elapsed time; the calendar part is always taken first."""

    days: int
    seconds: int

    @property
    def elapsed_seconds(self) -> int:
        """Return the length with each calendar day counted as 86,400 seconds."""
        return self.days * SECONDS_OF_DAY + self.seconds

    def __str__(self) -> str:
        """Return `1d26h` for 1 day and 26 hours: elapsed hours never turn into calendar days."""
        hours, rest = divmod(self.seconds, 3600)
        return _join((self.days, hours, *divmod(rest, 60)))


def quote(value: object, limit: int = 200) -> str:
    """Format a value for an error message: its repr, cut to a readable length."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits
        return f"an {type(value).__name__} too long to show"
    return text if len(text) <= limit else f"{text[:limit]}…"


def _join(amounts: tuple[int, int, int, int]) -> str:
    parts = (f"{amount}{unit}" for amount, unit in zip(amounts, "dhms", strict=True) if amount)
    return "".join(parts) or "0s"


def parse_duration(text: str, name: str = "duration") -> Duration:
    """Read `1d2h30m20s`: units in that order, each at most once, whole and not negative.

    Raises ValueError that names `name` and the input.
    """
    match = _UNITS.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(
            f"{name}: expected a duration such as '2h' or '1d2h30m20s' (d, h, m, s in that order, each at "
            f"most once, no sign, no spaces), got {quote(text)}"
        )
    try:
        days, hours, minutes, seconds = (int(digits or 0) for digits in match.groups())
    except ValueError as error:  # Python refuses to read thousands of digits
        raise ValueError(f"{name}: expected numbers of a sensible length, got {quote(text)}") from error
    return Duration(days, hours * 3600 + minutes * 60 + seconds)


def parse_time_to_seconds(text: str) -> int:
    """Convert `"1d2h30m20s"` to 95420, a day as 86,400 seconds; raise ValueError that names the input otherwise."""
    return parse_duration(text, "time").elapsed_seconds


def seconds_to_time_string(seconds: int) -> str:
    """Convert 95420 to `"1d2h30m20s"`, 0 to `"0s"`; the inverse of `parse_time_to_seconds` for every int >= 0.

    Raises TypeError for what is not an int, ValueError for a negative one; both name the value.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise TypeError(f"seconds: expected a whole number, got {quote(seconds)}")
    if seconds < 0:
        raise ValueError(f"seconds: expected 0 or more, got {quote(seconds)}")
    days, rest = divmod(seconds, SECONDS_OF_DAY)
    hours, rest = divmod(rest, 3600)
    return _join((days, hours, *divmod(rest, 60)))


def backlog_granularity_problem(granularity: Duration, longer: Duration) -> str | None:
    """Return what is wrong with a `backlog_granularity`, None if nothing is.

    A calendar day is always whole windows of `granularity`, since the last one ends with the day.
    """
    if longer == Duration(1, 0):
        return None
    if longer.elapsed_seconds > SECONDS_OF_DAY:
        return f"must be at most 1d, got {longer}: no window crosses midnight"
    if granularity.days or longer.days or not longer.seconds or longer.seconds % granularity.seconds:
        return f"must be 1d or a multiple of granularity ({granularity}), got {longer}"
    return None
