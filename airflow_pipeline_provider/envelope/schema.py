"""Define the columns of every row, from source to target.

============ ======================== =========================================================
RECORD_ID    string                   unique in the source (Elasticsearch: ``_index/_id``)
EVENT_TIME   timestamp(us, UTC)       truncated to microseconds, never rounded
SOURCE_NAME  string                   origin of the row (Elasticsearch: the index)
BODY         string                   the document as JSON text, byte for byte as in the source
============ ======================== =========================================================
"""

from __future__ import annotations

import pyarrow as pa

ENVELOPE = pa.schema(
    [
        pa.field("RECORD_ID", pa.string(), nullable=False),
        pa.field("EVENT_TIME", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("SOURCE_NAME", pa.string(), nullable=False),
        pa.field("BODY", pa.string(), nullable=False),
    ]
)

QUARANTINE = ENVELOPE.append(pa.field("REASON", pa.string(), nullable=False))
"""Columns of a row that the target cannot accept: all of its values, and the reason."""
