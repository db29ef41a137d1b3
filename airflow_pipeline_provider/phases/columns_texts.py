"""Classify texts of sampled documents: dates in which format, numbers, booleans.

Values are counted and never kept, so that no value of a document can reach a proposal or a log.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from airflow_pipeline_provider.connectors.typed_sql import NUMBER
from airflow_pipeline_provider.core.columns import DATE_FORMATS, DEFAULT_FORMATS, ISO, MILLISECONDS, SECONDS

ISO_DATE, ISO_TIME = "iso date", "iso time"
_ISO_FORMS = {ISO_DATE: "yyyy-MM-dd", ISO_TIME: "yyyy-MM-ddTHH:mm:ss"}  # other layouts that read them
_LONGEST = 40  # characters of a text that can be a date, a number or a boolean
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:(T)(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d{1,9})?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
# what the views also cast, and no proposal is based on
_CAST_NUMBER = re.compile(NUMBER)
_CAST_ISO = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](?:(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?"
    r"(?:Z|[+-]\d\d(?::?\d\d)?)?)?)?)?)?",
    re.ASCII,
)
_DIGITS = str.maketrans("123456789", "0" * 9)
_TOKEN = re.compile(r"yyyy|MM|dd|HH|mm|ss|SSS")
_TOKENS = ("yyyy", "MM", "dd", "HH", "mm", "ss")


def _layouts() -> dict[str, list[tuple[str, dict[str, int]]]]:
    """Return the formats by the shape of their texts (`0000/00/00`), with the position of each part."""
    found: dict[str, list[tuple[str, dict[str, int]]]] = {}
    known = set()
    for name, layout in DATE_FORMATS.items():
        # digits alone are as likely a number; a date in ISO 8601 is found by `_ISO`
        if "yyyy" not in layout or layout in known or layout.isalpha() or "T" in layout:
            continue
        if layout == "yyyy-MM-dd":
            continue
        known.add(layout)
        shape = _TOKEN.sub(lambda token: "0" * len(token[0]), layout)
        parts = {token[0]: token.start() for token in _TOKEN.finditer(layout)}
        found.setdefault(shape, []).append((name, parts))
    return found


_LAYOUTS = _layouts()


@dataclass(slots=True)
class Texts:
    """What the texts of one field are, counted.

    `dates` counts texts by the formats that read them: day and month of some can be told apart, of others not.
    """

    total: int = 0
    integers: int = 0
    padded: int = 0  # digits with a leading zero, such as a postal code
    years: int = 0  # of the integers, those of four digits
    cast_numbers: int = 0  # such as +5 and .5
    cast_dates: int = 0  # such as 2013-11 and 2013-11-03 05:00:00+01
    numbers: int = 0  # with a fraction or an exponent
    fractions: int = 0  # of them and of cast_numbers, those that are not whole
    booleans: int = 0
    longest_number: int = 0  # digits
    dates: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        """Count one text."""
        self.total += 1
        if not 0 < len(text) <= _LONGEST:
            return
        if text[0] in "+-.0123456789":
            if match := _NUMBER.fullmatch(text):
                if match[1] or match[2]:
                    self.numbers += 1
                    self.fractions += not float(text).is_integer()
                else:
                    self.integers += 1
                    self.years += len(text) == 4 and text.isdecimal()
                    self.longest_number = max(self.longest_number, len(text.lstrip("-")))
            elif text.isascii() and text.isdecimal():
                self.padded += 1
            elif formats := _formats_of(text):
                self.dates[formats] += 1
            elif _CAST_NUMBER.fullmatch(text):
                self.cast_numbers += 1
                self.fractions += not float(text).is_integer()
            else:
                self.cast_dates += _is_cast_date(text)
        elif text.lower() in ("true", "false"):
            self.booleans += 1

    def all_dates(self) -> bool:
        """Return whether every text is a date."""
        return bool(self.total) and sum(self.dates.values()) == self.total

    def date_formats(self) -> tuple[str, ...] | None:
        """Return the formats that read every text, the commonest first; None if day and month stay unclear."""
        clear = Counter({formats[0]: n for formats, n in self.dates.items() if len(formats) == 1})
        for formats in self.dates:
            if len(formats) > 1 and sum(one in clear for one in formats) != 1:
                return None
        pairs = [formats for formats in _pairs() if sum(one in clear for one in formats) > 1]
        return None if pairs else tuple(name for name, _ in clear.most_common())

    def dates_in(self, formats: Sequence[str]) -> int:
        """Return the number of texts that one of the formats casts; digits count where one reads digits."""
        names = formats or DEFAULT_FORMATS
        layouts = {DATE_FORMATS[name] for name in names}
        found = sum(
            number
            for read_by, number in self.dates.items()
            if any(layouts & _layouts_of(one) for one in read_by)
        )
        found += self.cast_dates if ISO in layouts else 0
        if reads_numbers(names):
            return found + self.integers + self.padded + self.numbers + self.cast_numbers
        if any(layout.isalpha() and layout != ISO for layout in layouts):
            return found + self.integers + self.padded
        return found + (self.years if ISO in layouts else 0)


def reads_numbers(formats: Sequence[str]) -> bool:
    """Return whether one of the formats reads a number."""
    return any(DATE_FORMATS[name] in (MILLISECONDS, SECONDS) for name in formats)


def _layouts_of(form: str) -> set[str]:
    layout = _ISO_FORMS[form] if form in _ISO_FORMS else DATE_FORMATS[form]
    return {ISO, layout} if layout.startswith("yyyy-MM-dd") else {layout}


def _pairs() -> list[tuple[str, ...]]:
    return [tuple(name for name, _ in layouts) for layouts in _LAYOUTS.values() if len(layouts) > 1]


def _formats_of(text: str) -> tuple[str, ...]:
    if match := _ISO.fullmatch(text):
        hour, minute, second = (int(match[n] or 0) for n in (5, 6, 7))
        if not _is_date(int(match[1]), int(match[2]), int(match[3]), hour, minute, second):
            return ()
        return (ISO_TIME if match[4] else ISO_DATE,)
    return tuple(
        name
        for name, at in _LAYOUTS.get(text.translate(_DIGITS), ())
        if _is_date(*(int(text[at[t] : at[t] + len(t)]) if t in at else 0 for t in _TOKENS))
    )


def _is_cast_date(text: str) -> bool:
    match = _CAST_ISO.fullmatch(text)
    if match is None:
        return False
    year, month, day, hour, minute, second = match.groups()
    return _is_date(
        int(year), int(month or 1), int(day or 1), *map(int, (hour or 0, minute or 0, second or 0))
    )


def _is_date(year: int, month: int, day: int, hour: int, minute: int, second: int) -> bool:
    try:
        datetime.combine(date(year, month, day), datetime.min.time()).replace(
            hour=hour, minute=minute, second=second
        )
    except ValueError:
        return False
    return True


def has_time(name: str) -> bool:
    """Return whether texts in this format have a time of day."""
    return name == ISO_TIME or "HH" in DATE_FORMATS.get(name, ISO)
