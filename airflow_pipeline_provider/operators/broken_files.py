"""Send a notice of pipeline files that cannot be loaded, once for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_pipeline_provider.config.loader import default_notices, load_folder
from airflow_pipeline_provider.connectors.registry import options_model
from airflow_pipeline_provider.exceptions import ConfigError
from airflow_pipeline_provider.observability.redaction import redact_text
from airflow_pipeline_provider.operators.notices import report_broken
from airflow_pipeline_provider.state.variable_access import AirflowVariables

if TYPE_CHECKING:
    from airflow.sdk import Context

VARIABLE = "pipelines.broken_files"


class BrokenFilesOperator(BaseOperator):
    """Call the notifiers of `airflow.on_failure` in the folder's `defaults.yaml` for files that do not load.

    The Variable ``pipelines.broken_files.<dag id>`` lists the files of which a notice was sent; a file that loads
    again, or is removed, leaves it.

    :param folder: path of the folder of pipeline files.
    """

    ui_color = "#e4f0e8"

    def __init__(self, *, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def execute(self, context: Context) -> list[str]:
        try:
            notifiers = default_notices(self.folder)
            errors = {path.name: redact_text(error.message) for path, error in self._errors().items()}
        except ConfigError as error:
            raise AirflowFailException(f"no notice can be sent: {error.message}") from None
        variables, key = AirflowVariables(), f"{VARIABLE}.{context['ti'].dag_id}"
        before = _names(variables.get(key))
        kept = [name for name in before if name in errors]
        new = {name: message for name, message in errors.items() if name not in before}
        if new or kept != before:
            variables.set(key, json.dumps([*kept, *new]))  # before the notice, so that it is never sent twice
        if not new:
            raise AirflowSkipException(f"no file broke; broken before: {', '.join(kept) or 'none'}")
        for name, message in new.items():
            self.log.error("%s: %s", name, message)
        if not report_broken(notifiers, new, self.folder, context):
            variables.set(key, json.dumps(kept))  # the next run sends it
        return list(new)

    def _errors(self) -> dict[Any, ConfigError]:
        return dict(sorted(load_folder(self.folder, options_model=options_model).errors.items()))


def _names(text: str | None) -> Sequence[str]:
    """Return the names in the Variable; none if someone wrote something else into it."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
