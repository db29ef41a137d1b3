"""Run the commands of `airflow-pipelines` and `airflow pipelines`."""

__all__: list[str] = []
