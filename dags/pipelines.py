"""Build a DAG from every file of `pipelines/`.

Airflow parses a file only if it contains both words, airflow and dag.
"""

from airflow_pipeline_provider import load_pipelines

load_pipelines(globals(), "pipelines")
