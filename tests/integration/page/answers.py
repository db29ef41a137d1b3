"""Answers of the JSON API with every state in them, for what a real ledger cannot be brought to in seconds.

A year of hourly windows in New York up to the days around the 25-hour day of 2013.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
NOW = datetime(2013, 11, 7, 14, 20, tzinfo=timezone.utc)
LAST = date(2013, 11, 6)
HOUR = timedelta(hours=1)
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>'; DROP TABLE x; --"
)

MAY = {"move": True, "recheck": True, "waive": True, "accept_shrink": True, "release": True}
"""What an admin may do."""


def utc(instant: datetime) -> str:
    return instant.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def interval(start: datetime, end: datetime) -> dict[str, Any]:
    local = start.astimezone(ZONE)
    return {
        "day": local.date().isoformat(),
        "start": utc(start),
        "end": utc(end),
        "local_start": local.isoformat(),
        "local_end": end.astimezone(ZONE).isoformat(),
    }


def bounds(day: date) -> tuple[datetime, datetime]:
    start, end = (
        datetime(one.year, one.month, one.day, tzinfo=ZONE) for one in (day, day + timedelta(days=1))
    )
    return start.astimezone(timezone.utc), end.astimezone(timezone.utc)


ODD: dict[tuple[str, int], dict[str, Any]] = {
    ("2013-11-06", 14): {
        "state": "failed",
        "failures": 3,
        "max_attempts": 5,
        "reason": "TransientError in extract: the cluster es-prod answered 503 while a shard moved",
    },
    ("2013-11-06", 15): {"state": "missing", "reason": "no run has tried it yet"},
    ("2013-11-06", 21): {
        "state": "running",
        "reason": "held by flights/scheduled__2013-11-07T14:00:00+00:00",
    },
    ("2013-11-06", 22): {"state": "ready", "reason": "the next run moves it"},
    ("2013-11-06", 23): {"state": "not_settled", "reason": "settles at 2013-11-07 10:00 EST"},
    ("2013-11-05", 9): {
        "state": "drifted",
        "drift": "grew",
        "reason": "the source has 12 rows more",
        "rows": 1204,
    },
    ("2013-11-05", 10): {
        "state": "drifted",
        "drift": "shrank",
        "reason": "the source has 3 rows fewer",
        "rows": 1188,
    },
    ("2013-11-04", 6): {
        "state": "blocked",
        "failures": 5,
        "max_attempts": 5,
        "reason": "DataError in audit: 17 duplicate ids in the source",
    },
    ("2013-11-04", 18): {"state": "unverified", "reason": "the audit did not finish", "rows": 1190},
    ("2013-11-03", 5): {"state": "waived", "reason": HOSTILE},
    ("2013-11-02", 3): {"state": "replaced", "replaced": 2, "rows": 1211},
}
WORST = [
    "failed",
    "blocked",
    "missing",
    "drifted",
    "unverified",
    "too_old",
    "running",
    "ready",
    "not_settled",
    "waived",
]


def windows(day: date) -> list[dict[str, Any]]:
    start, end = bounds(day)
    found = []
    while start < end:
        local = start.astimezone(ZONE)
        hours = 1 if local.date() != date(2013, 11, 1) else 4
        stop = min(end, start + hours * HOUR)
        odd = ODD.get((day.isoformat(), len(found))) or {
            "state": "complete",
            "rows": 1200 + (local.hour * 7) % 40,
        }
        found.append(
            {
                "window": interval(start, stop),
                "replaced": 0,
                "reason": "",
                "rows": None,
                "failures": 0,
                "max_attempts": 5,
                "drift": None,
                "repeated_hour": day == date(2013, 11, 3) and len(found) == 2,
                **odd,
            }
        )
        start = stop
    return found


def worst(states: list[str]) -> str:
    return next((state for state in WORST if state in states), "complete")


def day_row(day: date) -> dict[str, Any]:
    start, end = bounds(day)
    found = windows(day)
    state = worst([one["state"] for one in found])
    if day == date(2013, 2, 17):
        state = "too_old"
    if day in (date(2013, 5, 4), date(2013, 5, 5)):
        state = "waived"
    rows = sum(one["rows"] or 0 for one in found)
    left = [one["state"] for one in found if one["state"] not in ("complete", "replaced")]
    reason = (
        "every window is committed" if not left else f"{len(left)} of {len(found)} windows are not complete"
    )
    source = rows + 9 if state == "drifted" else rows
    return {
        "day": day.isoformat(),
        "state": state,
        "hours": (end - start) // HOUR,
        "reason": reason,
        "rows": rows,
        "source": source,
        "staged": rows,
        "target": rows,
        "distinct": rows,
        "equal": state != "drifted",
    }


DAYS = [LAST - timedelta(days=back) for back in range(365, -1, -1)]
LEASE = {
    "window": windows(LAST)[21]["window"],
    "holder": "flights/scheduled__2013-11-07T14:00:00+00:00",
    "run_id": "scheduled__2013-11-07T14:00:00+00:00",
    "since": utc(NOW - timedelta(minutes=3)),
    "until": utc(NOW + timedelta(minutes=2)),
    "seen": utc(NOW - timedelta(seconds=12)),
}
NEXT = {"window": windows(LAST)[23]["window"], "ready_at": utc(NOW + timedelta(minutes=40))}
ETA = {"at": utc(NOW + timedelta(minutes=9)), "reason": None}


def pipeline(**changes: Any) -> dict[str, Any]:
    return {
        "at": utc(NOW),
        "facts": {
            "pipeline_id": "flights",
            "timezone": "America/New_York",
            "granularity": "1h",
            "backlog_granularity": None,
            "x_time_back": "1d",
            "settle": "30m",
            "start_day": "2012-11-06",
            "end_day": None,
            "source": "elasticsearch flights-*",
            "target": "snowflake RAW.FLIGHTS",
            "state": "sql pipeline_state",
        },
        "behind_seconds": 9 * 3600,
        "caught_up": False,
        "eta": ETA,
        "leases": [LEASE],
        "next": NEXT,
        "commands": [
            {"purpose": "Compare ledger, stage and target", "command": "airflow-pipelines doctor flights"}
        ],
        "continuation": windows(LAST)[14]["window"]["start"],
        "days_to_review": 3,
        "next_clock_change": {"day": "2014-03-09", "hours": 23, "at": "2014-03-09T07:00:00Z"},
        "days": [day_row(day) for day in DAYS],
        "may": MAY,
        **changes,
    }


def lanes(start: date, end: date) -> dict[str, Any]:
    days = []
    for back in range((end - start).days + 1):
        day = start + timedelta(days=back)
        first, last = bounds(day)
        commits = []
        if day == date(2013, 11, 1):
            pieces = [interval(first + hour * HOUR, first + (hour + 1) * HOUR) for hour in (8, 9, 10)]
            commits = [{"window": piece, "effective": [piece], "rows": 402, "token": 7} for piece in pieces]
        days.append(
            {
                "day": day.isoformat(),
                "hours": (last - first) // HOUR,
                "start": utc(first),
                "end": utc(last),
                "windows": windows(day),
                "commits": commits,
            }
        )
    return {"at": utc(NOW), "days": days}


REASONS = {"missing": "never_run", "running": "leased"}


def gaps() -> dict[str, Any]:
    found = []
    for (day, index), odd in ODD.items():
        if odd["state"] in ("complete", "replaced", "waived", "drifted", "unverified"):
            continue
        window = windows(date.fromisoformat(day))[index]
        found.append(
            {
                **window["window"],
                "seconds": 3600,
                "days": 1,
                "reason": REASONS.get(odd["state"], odd["state"]),
                "detail": odd["reason"],
                "failures": odd.get("failures", 0),
                "ready": odd["state"] not in ("not_settled", "running"),
            }
        )
    first, last = bounds(date(2013, 2, 17))
    found.append(
        {
            **interval(first, last),
            "seconds": 86400,
            "days": 1,
            "reason": "too_old",
            "detail": "older than max_backlog_days (30)",
            "failures": 0,
            "ready": False,
        }
    )
    found.sort(
        key=lambda gap: ["failed", "blocked", "never_run", "too_old", "ready", "leased", "not_settled"].index(
            gap["reason"]
        )
    )
    changed = [
        {"day": day, "state": odd["state"], "reason": odd["reason"]}
        for (day, _), odd in ODD.items()
        if odd["state"] in ("drifted", "unverified")
    ]
    changed.sort(key=lambda one: (one["state"] == "drifted", one["day"]))
    return {"at": utc(NOW), "gaps": found, "total_changed": len(changed), "changed_days": changed}


SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def window(start: str, **changes: Any) -> dict[str, Any]:
    at = datetime.fromisoformat(start.replace("Z", "+00:00"))
    day = at.astimezone(ZONE).date()
    found = next(one for one in windows(day) if one["window"]["start"] == start)
    state, run = found["state"], "scheduled__2013-11-07T13:00:00+00:00"

    def attempt(number: int, outcome: str, error: dict[str, Any] | None, exists: bool) -> dict[str, Any]:
        begun = NOW - timedelta(hours=4 - number)
        entries = [
            {"kind": "attempt", "at": utc(begun), "token": None, "rows": None, "detail": {"slices": 4}}
        ]
        if error:
            failed = {**error, "task": "extract", "try_number": number}
            entries.append({"kind": "failed", "at": utc(begun + timedelta(seconds=41)), "detail": failed})
        else:
            entries += [
                {
                    "kind": "replacing",
                    "at": utc(begun + timedelta(seconds=30)),
                    "token": 40 + number,
                    "rows": 1204,
                    "detail": {},
                },
                {
                    "kind": "committed",
                    "at": utc(begun + timedelta(seconds=41)),
                    "token": 40 + number,
                    "rows": 1204,
                    "manifest": SHA,
                    "detail": {"quarantined": 0},
                },
            ]
        return {
            "attempt": f"5a01bc8694a{number}",
            "token": None if error else 40 + number,
            "run": f"flights/{run}",
            "run_dag_id": "flights",
            "run_id": run,
            "run_state": "failed" if error else "success",
            "run_exists": exists,
            "task": "extract",
            "map_index": None,
            "try_number": number,
            "state": outcome,
            "started": utc(begun),
            "ended": utc(begun + timedelta(seconds=41)),
            "seconds": 41.2,
            "entries": entries,
            "error": error and f"{error['error']} in {error['phase']}: {error['message']}",
        }

    committed = state in ("complete", "replaced", "drifted", "unverified")
    error = {
        "error": "TransientError",
        "phase": "extract",
        "message": f"the cluster es-prod answered 503\n  shard [flights-2013.11][3] is moving\n{HOSTILE}",
    }
    failures = found["failures"]
    attempts = [attempt(n, "failed", error, n > 1) for n in range(failures, 0, -1)]
    if committed:
        attempts = [
            attempt(3, "committed", None, True),
            *(attempt(n, "failed", error, n > 1) for n in (2, 1)),
        ]
    target = found["rows"]
    source = None if target is None else target + {"grew": 12, "shrank": -3}.get(found["drift"] or "", 0)
    return {
        "at": utc(NOW),
        "window": found["window"],
        "window_id": f"flights.{start.replace('-', '').replace(':', '')}",
        "state": state,
        "drift": found["drift"],
        "reason": found["reason"],
        "failures": found["failures"],
        "max_attempts": 5,
        "replaced": found["replaced"],
        "goes": 3 if found["drift"] == "shrank" else None,
        "attempts": attempts,
        "counts": {"source": source, "staged": target, "target": target, "distinct": target}
        if committed
        else None,
        "manifest": {"sha256": SHA, "parts": 4, "bytes": 188_416, "rows": target} if committed else None,
        "checks": [{"at": utc(NOW - HOUR), "source": source, "target": target, "verdict": found["drift"]}]
        if found["drift"]
        else [],
        "quarantine": None,
        "by_hand": [{"at": utc(NOW - 2 * HOUR), "what": "recheck", "by": "admin", "why": HOSTILE}]
        if found["drift"]
        else [],
        "command": f"airflow-pipelines history flights {start} {found['window']['end']}",
        **changes,
    }


def preview(asked: dict[str, Any]) -> dict[str, Any]:
    if asked.get("days"):
        found = [one for day in asked["days"] for one in windows(date.fromisoformat(day))]
    else:
        wanted = {one["start"] for one in asked["windows"] or []}
        days = {datetime.fromisoformat(one.replace("Z", "+00:00")).astimezone(ZONE).date() for one in wanted}
        found = [one for day in sorted(days) for one in windows(day) if one["window"]["start"] in wanted]
    stays = {"complete", "replaced", "running", "not_settled", "waived"}
    replaced = {"complete", "replaced", "drifted", "unverified"}

    def will(one: dict[str, Any]) -> str:
        if one["state"] == "not_settled" or one.get("drift") == "shrank":
            return "skip"
        return "replace" if one["state"] in replaced else "move"

    return {
        "at": utc(NOW),
        "windows": [
            {
                "window": one["window"],
                "state": one["state"],
                "rows": one["rows"],
                "chosen": one["state"] not in stays and will(one) != "skip",
                "will": will(one),
                "why": one["reason"],
            }
            for one in found
        ],
        "estimate_seconds": 84.0,
        "seconds_per_hour": 28.0,
        "followers": {"window": 0, "day": 2},
        "command": "airflow-pipelines reprocess flights 2013-11-06",
    }


def row(name: str, state: str, **changes: Any) -> dict[str, Any]:
    quiet = state in ("complete", "not_settled")
    days = [day_row(day) for day in DAYS[-14:]]
    if quiet:
        days = [one | {"state": "complete", "reason": "every window is committed"} for one in days]
    return {
        "dag_id": name,
        "pipeline_id": name,
        "timezone": "America/New_York",
        "tags": ["raw", "hourly"],
        "paused": False,
        "state": state,
        "reason": "every day is complete"
        if quiet
        else "2013-11-06 14:00–15:00 EST failed 3 of 5 attempts: the cluster es-prod answered 503",
        "behind_seconds": 0 if quiet else 9 * 3600,
        "caught_up": quiet,
        "eta": {"at": None, "reason": "nothing is left to do"} if quiet else ETA,
        "days": days,
        "leases": [],
        "next": NEXT,
        "problem": None,
        **changes,
    }


def pipelines() -> dict[str, Any]:
    since = utc(NOW - timedelta(hours=5))
    broken = {
        "kind": "file",
        "file": "/opt/airflow/dags/pipelines/orders.yaml",
        "line": 12,
        "message": "granularity: must be 1m or more, got '0s'",
        "since": since,
    }
    never = {"dag_id": None, "timezone": None, "state": None}
    rows = [
        row("orders", "failed", days=[], problem=broken, next=None) | never,
        row("flights", "failed", leases=[LEASE]),
        row(
            "weather",
            "drifted",
            behind_seconds=0,
            reason="2013-11-05 has 12 rows more in the source than in the target",
        ),
        row("stations", "not_settled", reason="2013-11-06 is not settled until 10:00 EST"),
        row("airlines", "complete"),
        row(HOSTILE, "complete", reason=HOSTILE, tags=[HOSTILE]),
    ]
    return {
        "at": utc(NOW),
        "total": len(rows),
        "states": {"failed": 1, "problem": 1},
        "tags": ["hourly", "raw"],
        "pipelines": rows,
    }
