"""Move time windows of data exactly once: a YAML file per pipeline becomes an Airflow DAG.

Nothing is imported here on purpose: Airflow's provider discovery imports this package before its own
configuration is ready.
"""

__version__ = "0.1.0"
