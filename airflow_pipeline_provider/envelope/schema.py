"""The one shape in which every row moves.

============ ======================== =========================================================
RECORD_ID    string                   unique in the source (Elasticsearch: ``_index/_id``)
EVENT_TIME   timestamp(us, UTC)       floored to microseconds, never rounded
SOURCE_NAME  string                   where the row came from (Elasticsearch: the index)
BODY         string                   the document as JSON text, byte for byte as the source holds it
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
"""A row that the target cannot take, whole, with the reason."""
