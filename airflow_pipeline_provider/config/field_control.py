"""Keys of a source that leave fields of documents out, or change their values, before anything reaches the stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from airflow_pipeline_provider.config.problems import Problem
from airflow_pipeline_provider.core.columns import format_path, indexed_path
from airflow_pipeline_provider.core.field_patterns import (
    RECORD_ID,
    RedactRule,
    is_left_out,
    parse_pattern,
    reached_by,
)

if TYPE_CHECKING:
    from airflow_pipeline_provider.config.model import PipelineConfig
    from airflow_pipeline_provider.config.options import SourceOptions

MOST_RULES = 500


def _listed(value: object) -> object:
    """Return a list as a tuple, which the strict reading of a file requires; one name is a list of it."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _name(value: object) -> object:
    if isinstance(value, str) and (not value.strip(".") or not value.isprintable() or value != value.strip()):
        raise ValueError(f"must be a field such as user.email, or a pattern such as user.*, got {value!r}")
    return value


def _path(value: object) -> object:
    if isinstance(value, str):
        parse_pattern(value)
    return value


Patterns = Annotated[
    tuple[Annotated[str, BeforeValidator(_name)], ...],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
]


class FieldsOptions(BaseModel):
    """The section `source.fields`: which fields of a document the source returns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    include: Patterns = Field(
        default=(),
        description="Fields or patterns (user.*) that the source returns, or one of them; [] is all.",
        examples=[["carrier", "dep.*"]],
    )
    exclude: Patterns = Field(
        default=(),
        description="Fields or patterns that the source leaves out, also of those in include.",
        examples=[["passenger"]],
    )

    @model_validator(mode="after")
    def _any(self) -> FieldsOptions:
        if not self.include and not self.exclude:
            raise ValueError("needs include or exclude, got none: remove the key")
        return self


class RedactOptions(BaseModel):
    """An element of `source.redact`: which values are changed, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, BeforeValidator(_path)] = Field(
        description="Field, also in objects of arrays: user.email, user.*, **.email; _id is the record id.",
        examples=["user.email"],
    )
    how: Literal["drop", "hash", "mask"] = Field(
        description="drop: remove the field; hash: a keyed hash, equal for equal values; mask: asterisks.",
        examples=["drop"],
    )
    keep: int = Field(
        default=0,
        ge=0,
        le=16,
        strict=True,
        description="Number of characters at the end that mask leaves of a text at least twice as long.",
        examples=[4],
    )

    @model_validator(mode="after")
    def _fits(self) -> RedactOptions:
        if self.keep and self.how != "mask":
            raise ValueError(f"keep is for how: mask only, got how: {self.how}")
        if self.path == RECORD_ID and self.how != "hash":
            raise ValueError(
                f"the record id {RECORD_ID} must stay unique, so it can only be hashed, got {self.how}"
            )
        return self

    def rule(self) -> RedactRule:
        """Return the rule as a value."""
        return RedactRule(self.path, self.how, self.keep)


RedactList = Annotated[
    tuple[RedactOptions, ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    Field(max_length=MOST_RULES),
]


def field_control_errors(config: PipelineConfig) -> Iterator[Problem]:
    """Yield the rules that the source cannot follow, or that contradict each other."""
    source = config.source
    if source.fields is not None and not source.takes_fields:
        yield Problem(
            "source.fields",
            f"source.type {source.type} cannot leave fields out: remove the key, or use source.redact with how: drop",
        )
    hashed = any(rule.how == "hash" for rule in source.redact)
    if hashed and source.redact_conn_id is None:
        yield Problem(
            "source.redact",
            "needs source.redact_conn_id with how: hash: the Airflow connection whose password is the key of hashes",
        )
    first: dict[str, int] = {}
    for number, rule in enumerate(source.redact):
        if first.setdefault(rule.path, number) != number:
            yield Problem(
                f"source.redact[{number}].path",
                f"{rule.path} has a rule already, source.redact[{first[rule.path]}]: remove one",
            )
    if RECORD_ID in first and source.history == "changes":
        yield Problem(
            f"source.redact[{first[RECORD_ID]}].path",
            "must not be _id with history: changes, since another key would make other records of the same rows",
        )


def field_control_warnings(config: PipelineConfig) -> Iterator[Problem]:
    """Yield what is allowed, but probably not what is meant."""
    source = config.source
    if source.redact_conn_id is not None and not any(rule.how == "hash" for rule in source.redact):
        yield _warning("source.redact_conn_id", "is not used: no rule of source.redact has how: hash")
    body = [rule for rule in source.redact if rule.path != RECORD_ID]
    patterns = [parse_pattern(rule.path) for rule in body]
    for number, column in enumerate(config.columns):
        field = indexed_path(column.path)
        where, path = f"columns[{number}].path", format_path(column.path)
        if source.fields and is_left_out(field, source.fields.include, source.fields.exclude):
            yield _warning(where, f"{path} is left out by source.fields: the column is always NULL")
        found = reached_by(patterns, field.split("."))
        if found is not None:
            does = {"drop": "always NULL", "hash": "a text, the hash", "mask": "a text of asterisks"}
            yield _warning(
                where, f"{path} is redacted by source.redact: the column is {does[body[found].how]}"
            )
    yield from _shown_elsewhere(source, patterns, [rule.path for rule in source.redact])


def _shown_elsewhere(
    source: SourceOptions, patterns: list[tuple[str, ...]], paths: list[str]
) -> Iterator[Problem]:
    """Yield redacted fields whose value is also in another column of the target."""
    shown: list[tuple[str, str, str]] = []
    for key in ("time_column", "time_field"):
        if field := getattr(source, key, None):
            shown.append((field, key, "EVENT_TIME"))
    if field := getattr(source, "change_column", None):
        shown.append((field, "change_column", "the ledger"))
    if RECORD_ID not in paths:
        shown += [(field, "key_columns", "RECORD_ID") for field in getattr(source, "key_columns", None) or ()]
    for field in () if RECORD_ID not in paths else getattr(source, "key_columns", None) or ():
        if reached_by(patterns, field.split(".")) is None:
            yield _warning(
                "source.redact",
                f"the record id is hashed, and BODY still shows {field} of source.key_columns: add a rule for it "
                "unless it may be seen",
            )
    for field, key, column in shown:
        if reached_by(patterns, field.split(".")) is not None:
            advice = f"add a rule for {RECORD_ID}, " if column == "RECORD_ID" else ""
            yield _warning(
                "source.redact",
                f"{field} is redacted, and {column} still shows it, since it is in source.{key}: {advice}"
                "choose another field, or remove the rule",
            )


def _warning(path: str, message: str) -> Problem:
    return Problem(path, message, severity="warning")


def rules_of(source: Any) -> tuple[RedactRule, ...]:
    """Return the rules of `source.redact` as values."""
    return tuple(rule.rule() for rule in getattr(source, "redact", ()))
