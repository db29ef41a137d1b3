"""Parts of a table's name as it is written in a pipeline file."""

from __future__ import annotations

import re

from airflow_pipeline_provider.config.options import printable

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".]+))\s*')


def table_parts(name: str) -> list[str]:
    """Return the parts of `schema.table`, each as the database has it; a part with a dot is in double quotes.

    ValueError for an empty part or a quote that is not one of a pair around a part.
    """
    parts, position = [], 0
    while True:
        match = _PART.match(printable(name), position)
        part = match and (match[1].replace('""', '"') if match[1] else match[2].strip())
        if not match or not part or name[match.end() : match.end() + 1] not in ("", "."):
            raise ValueError(
                'must be a table such as weather, public.weather or public."my.table": parts between dots, each '
                f'without double quotes or whole in a pair of them ("" inside is one), got {name!r}'
            )
        parts.append(part)
        position = match.end() + 1
        if match.end() == len(name):
            return parts
