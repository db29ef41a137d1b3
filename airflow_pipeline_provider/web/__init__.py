"""Serve the page inside Airflow: a JSON API and static files, imported by the api-server only."""

__all__: list[str] = []
