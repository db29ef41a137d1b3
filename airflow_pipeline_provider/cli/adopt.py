"""`adopt PIPELINE --reason TEXT`: accept another source or target in the file, which holds the same data.

JSON: `{"pipeline_id", "changes": [text], "shared_with": [pipeline id], "windows" | null, "reason", "by"}`;
`windows` is how many committed windows the target was found to hold, null when the target is the same.
"""

from __future__ import annotations

from argparse import Namespace

from airflow_pipeline_provider.cli import exits
from airflow_pipeline_provider.cli.arguments import read_person, read_reason
from airflow_pipeline_provider.cli.find import load_one
from airflow_pipeline_provider.cli.output import Screen
from airflow_pipeline_provider.phases import adopt as phase
from airflow_pipeline_provider.phases.runtime import open_runtime


def adopt(args: Namespace, screen: Screen) -> int:
    """Record the source and target that the file names now, and print what changed."""
    reason, by = read_reason(args.reason), read_person(args.by)
    config = load_one(args.pipeline, args.folder).config
    with open_runtime(config) as runtime:
        done = phase.adopt(runtime, reason, by)
    if screen.as_json:
        screen.answer(
            {
                "pipeline_id": config.pipeline_id,
                "changes": done.found,
                "shared_with": done.twins,
                "windows": done.windows,
                "reason": reason,
                "by": by,
            }
        )
    for change in done.found:
        screen.say(f"adopted: {change}", "yellow")
    for twin in done.twins:
        screen.say(
            f"adopted: pipeline {twin} loads the same source into this table, its rows stay there", "yellow"
        )
    if done.windows is not None:
        screen.say(f"the target holds every committed window ({done.windows:,})", "green")
    if not done.found and not done.twins:
        screen.say("nothing to adopt: source and target are those of the loads so far")
    return exits.OK
