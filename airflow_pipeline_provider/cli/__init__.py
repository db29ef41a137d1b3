"""Define the command line `airflow-pipelines`, and `airflow pipelines` inside Airflow."""

__all__: list[str] = []
