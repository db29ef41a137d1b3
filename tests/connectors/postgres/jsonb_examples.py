"""JSON documents at the limits of PostgreSQL's jsonb: does the cast succeed, and else which words name the reason?

`tests/unit/test_jsonb.py` holds `envelope.jsonb` to them, `tests/integration/test_postgres_jsonb.py` a server.
"""

from __future__ import annotations

NUL, NUMBER, DEPTH = r"escape \\u0000", "beyond the range of numeric", "nested deeper"


def nested(levels: int) -> str:
    return '{"a":[' * (levels // 2) + "1" + "]}" * (levels // 2)


CAST = {
    "plain": '{"a": [1, 2.5, -3e2, true, null, "x"], "ü": "🛩"}',
    "a key twice": '{"a": 1, "a": 2}',
    "an escaped backslash": r'{"a": "\\u0000", "b": "\\\\u0000"}',
    "a surrogate pair": r'{"a": "\ud83d\ude00\uD83D\uDE00"}',
    "looks like an exponent": '{"sha": "3e99999999", "a": "x, 1e999999", "b": ": -2.5E+777777 \\" 1e99999"}',
    "looks like a deep document": '{"a": "' + "[" * 6_000 + '", "b": "\\"' + "{" * 6_000 + '"}',
    "many brackets": "[" + ",".join(['{"a":"]"}'] * 6_000) + "]",
    "largest exponent": "[1e131071, 9.9e131071, 0.1e131072, 0.0001e131075, 0e9999999, 1e00007]",
    "smallest exponent": "[1e-16383, 1.5e-16382, 100e-16383, 0.0e-16382]",
    "longest number": "[" + "1" * 131_072 + ", " + "0." + "1" * 16_383 + "]",
    "long number, shifted": "1" + "0" * 131_072 + "e-1",
    "top-level number": "1e131071",
    "deep": nested(900),
}
REFUSED = {
    "NUL": (r'{"a": "x\u0000y"}', NUL),
    "NUL after a backslash": (r'{"a": "\\\u0000"}', NUL),
    "NUL in a key": (r'{"\u0000": 1}', NUL),
    "NUL in a long document": ('{"a": "' + "x" * 20_000 + r'\u0000"}', NUL),
    "exponent": ('{"a": 1e131072}', NUMBER),
    "exponent, upper case and sign": ('{"a" :\n-1.25E+131072}', NUMBER),
    "exponent of a thousand digits": ("[1e" + "9" * 5_000 + "]", NUMBER),
    "exponent of zero": ("[0e1073741824]", NUMBER),
    "ten times": ("[10e131071]", NUMBER),
    "too small": ("[1, 1e-16384]", NUMBER),
    "too small, zero": ("[0e-16384]", NUMBER),
    "too small with a fraction": ("[1.5e-16383]", NUMBER),
    "top-level number beyond": ("-1e999999", NUMBER),
    "digits before the point": ('{"a":"b","n":' + "1" * 131_073 + "}", NUMBER),
    "digits after the point": ("[0." + "1" * 16_384 + "]", NUMBER),
    "digits after the point, zeros": ("[1." + "0" * 16_384 + "]", NUMBER),
    "after a text that looks like one": ('{"a": "\\", 1e5", "b": 1e131072}', NUMBER),
}
BEYOND = {
    "too deep": (nested(15_000), DEPTH),
    "too deep, beside texts": ('["]]]]", "\\"]", ' * 15_000 + "1" + "]" * 15_000, DEPTH),
}
"""These are refused a good way before PostgreSQL does it."""
