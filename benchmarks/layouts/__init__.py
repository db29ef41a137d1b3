"""The contestants of the group `layouts`: pipelines and hand-written DAGs on one Airflow, with the same servers."""
