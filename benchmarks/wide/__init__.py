"""The contestants of the group `wide`: runs of a real Airflow with Celery workers, by its REST API."""
