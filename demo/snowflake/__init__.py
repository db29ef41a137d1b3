"""A stand-in that speaks Snowflake's wire protocol: fakesnow on DuckDB, with TLS and external stages on S3.

    python -m demo.snowflake --data-dir DIR [--port N]

The demo, the integration tests and docker-compose.yaml run it; tests/services/README.md says what it lacks.
"""
