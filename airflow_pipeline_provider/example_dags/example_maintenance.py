"""Build one DAG that maintains all pipelines of the folder `pipelines`, every morning at 6 UTC.

It counts the committed windows of the last 14 days again, reloads those that grew, reports those that shrank, and
removes what crashed attempts left in the stage. It judges the days of pipelines that have `expect`, and asks in a
form about windows that shrank of pipelines that have `airflow.decide_shrinkage`.
"""

from airflow_pipeline_provider import load_maintenance

load_maintenance(
    globals(),
    "pipelines",
    schedule="0 6 * * *",
    days=14,
    on_shrink="warn",
    dag_id="example_maintenance",
)
