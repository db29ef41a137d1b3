"""Two DAGs that run once for each complete day, whose partition key is the day: 2013-11-03.

Airflow 3.2 needs the setting `[core] asset_manager_class`, see "Wait for a complete day" in the documentation.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, task

ORDERS = Asset("example_orders.day_partitions")
FLIGHTS = Asset("example_flights.day_partitions")

with DAG(
    "example_orders_daily",
    schedule=PartitionedAssetTimetable(assets=ORDERS),
    catchup=False,
    tags=["example"],
) as orders_daily:

    @task
    def summarize(dag_run: Any = None, triggering_asset_events: Any = None) -> dict[str, Any]:
        """Return the day with its rows; a day whose windows were replaced has a newer token."""
        day = dag_run.partition_key
        newest = max(
            (event.extra["partitions"][day] for event in triggering_asset_events[ORDERS]),
            key=lambda about: about["token"],
        )
        return {"day": day, "rows": newest["rows"], "token": newest["token"]}

    summarize()

with DAG(
    "example_orders_and_flights_daily",
    schedule=PartitionedAssetTimetable(assets=ORDERS & FLIGHTS),
    catchup=False,
    tags=["example"],
) as both_daily:

    @task
    def join(dag_run: Any = None) -> str:
        """Return the day, which is complete in both pipelines."""
        return str(dag_run.partition_key)

    join()
