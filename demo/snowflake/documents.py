"""What typed views need from Snowflake's functions on documents, and fakesnow lacks.

`install()` rewrites these functions before fakesnow translates a statement to DuckDB: GET on keys of any form, texts
of values, IS_OBJECT, AS_OBJECT, OBJECT_DELETE, OBJECT_INSERT, and comments of views.
"""

from __future__ import annotations

import json
from typing import Any

import fakesnow.transforms as transforms
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp


def install() -> None:
    """Replace the functions; call once, before the first connection."""
    stock = FakeSnowflakeCursor._transform

    def _transform(self: FakeSnowflakeCursor, expression: exp.Expr, params: Any) -> exp.Expr:
        return stock(self, expression.transform(rewrite), params)

    FakeSnowflakeCursor._transform = _transform
    show = transforms.show_tables_etc

    def show_tables_etc(expression: exp.Expr, *current: Any) -> exp.Expr:
        shown = show(expression, *current)
        if shown is not expression and expression.name.upper() == "VIEWS" and not expression.args["terse"]:
            shown.set("expressions", [exp.maybe_parse(_WITH_COMMENT, dialect="duckdb")])
        return shown

    transforms.show_tables_etc = show_tables_etc


_WITH_COMMENT = """
* REPLACE ((
  SELECT coalesce(max(e.comment), '') FROM _fs_global._fs_information_schema._fs_tables_ext AS e
  WHERE e.ext_table_catalog = database_name AND e.ext_table_schema = schema_name AND e.ext_table_name = name
) AS comment)
"""


def rewrite(node: exp.Expr) -> exp.Expr:
    """Return what DuckDB calls a function on documents; any other node is returned as it is."""
    if isinstance(node, exp.GetExtract):
        found = call("json_extract", node.this, exp.Literal.string(pointer(node.expression)))
        if node.expression.is_string and node.expression.name.isdigit():
            # DuckDB's pointer would also lead to an element of an array
            return exp.Case().when(is_object(node.this), found)
        return found
    if isinstance(node, exp.Cast) and node.to.this == exp.DType.VARCHAR and is_value(node.this):
        return call("json_extract_string", node.this, exp.Literal.string("$"))
    if isinstance(node, exp.Array) and len(node.expressions) == 1 and is_value(node.expressions[0]):
        return call("json_array", *node.expressions)
    if isinstance(node, exp.Anonymous):
        return anonymous(node)
    if isinstance(node, exp.StrToTime) and is_whole_nanoseconds(node):
        # DuckDB would round to microseconds
        pattern, kept = ("([0-9]{6})[0-9]{3}([+-])", r"\1000\2")
        cut = call("regexp_replace", node.this, exp.Literal.string(pattern), exp.Literal.string(kept))
        return exp.StrToTime(**{**node.args, "this": cut, "cut": True})
    if isinstance(node, exp.ObjectInsert):
        return inserted(node.this, node.args["key"], node.args["value"])
    return node


def anonymous(node: exp.Anonymous) -> exp.Expr:
    name, given = node.name.upper(), node.expressions
    if name == "IS_OBJECT":
        return is_object(given[0])
    if name == "AS_OBJECT":
        return exp.Case().when(is_object(given[0]), rewritten(given[0]))
    if name == "OBJECT_DELETE":
        patch = json.dumps(dict.fromkeys(key.name for key in given[1:]), ensure_ascii=False)
        return call("json_merge_patch", given[0], as_json(exp.Literal.string(patch)))
    if name == "OBJECT_INSERT":
        return inserted(*given[:3])
    return node


def inserted(document: exp.Expr, key: exp.Expr, value: exp.Expr) -> exp.Expr:
    """Return the object with a key that it does not have; a pair whose value is NULL is left out."""
    # each part once: such calls are nested
    template = (
        "CAST(fs_replace(left(CAST(d AS VARCHAR), -1) || coalesce(',' || CAST(to_json(k) AS VARCHAR) || ':' "
        "|| CAST(v AS VARCHAR), '') || '}', '^[{],', '{') AS JSON)"
    )
    parsed = exp.maybe_parse(template, dialect="duckdb")
    parsed.find(exp.Anonymous, bfs=False).set("this", "regexp_replace")  # fakesnow would change the real one
    parts = {"d": rewritten(document), "k": key, "v": rewritten(value)}
    return exp.paren(
        parsed.transform(
            lambda node: (
                exp.paren(parts[node.name].copy())
                if isinstance(node, exp.Column) and node.name in parts
                else node
            )
        )
    )


def is_object(value: exp.Expr) -> exp.Expr:
    return exp.paren(exp.EQ(this=call("json_type", value), expression=exp.Literal.string("OBJECT")))


def pointer(key: exp.Expr) -> str:
    """Return the JSON pointer of a key, or of an element's index."""
    return "/" + key.name.replace("~", "~0").replace("/", "~1")


def is_value(node: exp.Expr) -> bool:
    """Return whether the expression is a value of a document."""
    if isinstance(node, (exp.Coalesce, exp.Paren)):
        return is_value(node.this)
    return (
        isinstance(node, exp.Anonymous) and node.name in ("json_extract", "STRIP_NULL_VALUE")
    ) or isinstance(node, exp.GetExtract)


def is_whole_nanoseconds(node: exp.StrToTime) -> bool:
    return "%f_nine" in node.args["format"].name and not node.args.get("cut")


def as_json(node: exp.Expr) -> exp.Expr:
    return exp.cast(node, "JSON")


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[rewritten(argument) for argument in arguments])


def rewritten(node: exp.Expr) -> exp.Expr:
    """Return a copy with every function below it rewritten; `transform` leaves out what replaces a node."""
    return node.copy().transform(rewrite)
