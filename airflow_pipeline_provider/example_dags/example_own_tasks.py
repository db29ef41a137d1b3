"""Build a DAG from each file of the folder `own_tasks`: pipelines with tasks of your own between the phases.

`example_checked_orders.yaml` calls the functions of `order_tasks.py`. The deployment has to allow functions in files
next to a pipeline file: `[pipelines] allowed_modules = ./`. Airflow parses a DAG file only if it contains both words,
airflow and dag.
"""

from airflow_pipeline_provider import load_pipelines

load_pipelines(globals(), "own_tasks")
