"""What pipelines cost beside moving rows: planning, starting, parsing, asking.  A script each, one JSON line."""
