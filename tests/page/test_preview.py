"""What the page shows before anything is moved."""

from __future__ import annotations

from typing import Any

from airflow_pipeline_provider.core.intervals import Interval
from tests.page.conftest import Login
from tests.page.place import Place, audit_of, body_of, post, runs_of


def test_the_preview_shows_each_window_and_what_will_happen(place: Place, client: Login) -> None:
    answer = post(place, client, "preview", {"days": [day.isoformat() for day in days(place)]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [(w["state"], w["chosen"], w["will"]) for w in found["windows"]] == [
        ("complete", False, "replace"),
        ("complete", False, "replace"),
        ("drifted", False, "skip"),
        ("failed", True, "move"),
        ("missing", True, "move"),
        ("missing", True, "move"),
    ]
    assert found["windows"][2]["goes"] == 2
    assert found["windows"][0]["rows"] == 3
    assert found["windows"][0]["window"]["local_start"][-6:] in ("-04:00", "-05:00")
    assert (found["followers"], found["left_out"]) == ({"window": 0, "day": 0}, 0)
    assert found["estimate_seconds"] is not None
    assert found["command"].startswith(f"airflow-pipelines reprocess {place.dag_id} --from ")
    assert (audit_of(place.dag_id), runs_of(place.dag_id)) == ([], [])


def days(place: Place) -> list[Any]:
    return [place.world.day(back) for back in (-3, -2, -1)]


def test_the_preview_of_all_and_of_windows(place: Place, client: Login) -> None:
    found = post(place, client, "preview", {"all": True}).json()
    assert [w["state"] for w in found["windows"]] == ["drifted", "failed", "missing", "missing"]
    found = post(place, client, "preview", body_of(place.complete)).json()
    assert [(w["state"], w["chosen"]) for w in found["windows"]] == [("complete", False)]
    gap = Interval(place.failed.start, place.missing[-1].end)
    found = post(place, client, "preview", body_of(gap)).json()
    assert [w["state"] for w in found["windows"]] == ["failed", "missing", "missing"]


def test_a_viewer_sees_the_preview_and_may_change_nothing(place: Place, client: Login) -> None:
    assert post(place, client, "preview", {"all": True}, role="viewer").status_code == 200


def test_runs_that_follow_are_counted(place: Place, client: Login) -> None:
    from airflow.models.asset import AssetModel, DagScheduleAssetReference
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        kinds = {"windows": 2, "days": 1, "window_partitions": 1, "day_partitions": 2}
        for kind, number in kinds.items():
            name = f"{place.dag_id}.{kind}"
            asset = session.scalar(select(AssetModel).where(AssetModel.name == name))
            for n in range(number):
                consumer = f"{place.dag_id}_{kind}_{n}"
                session.add(
                    DagModel(dag_id=consumer, bundle_name="dags-folder", is_paused=False, is_stale=False)
                )
                session.flush()
                session.add(DagScheduleAssetReference(asset_id=asset.id, dag_id=consumer))
    found = post(place, client, "preview", body_of(*place.missing)).json()
    assert found["followers"] == {"window": 3, "day": 3}
