"""Every file of `pipelines/` as a DAG. (Airflow reads a file only if it has both words, airflow and dag.)"""

from airflow_pipeline_provider import load_pipelines

load_pipelines(globals(), "pipelines")
