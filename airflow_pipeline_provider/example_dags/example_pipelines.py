"""Build a DAG from each file of the folder `pipelines`.

`example_flights.yaml` moves Elasticsearch → S3 → Snowflake, `example_orders.yaml` a table of a database → files →
DuckDB. Airflow parses a DAG file only if it contains both words, airflow and dag.
"""

from airflow_pipeline_provider import load_pipelines

load_pipelines(globals(), "pipelines")
