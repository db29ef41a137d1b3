"""The variable state store."""

from __future__ import annotations

import pytest

from airflow_pipeline_provider.connectors.base import Identity
from airflow_pipeline_provider.state.variable import VariableState, VariableStateOptions
from airflow_pipeline_provider.state.variable_access import DictVariables
from airflow_pipeline_provider.testing.state_kit import OpenState, StateConformance


class TestVariableState(StateConformance):
    @pytest.fixture
    def open_state(self) -> OpenState:
        variables = DictVariables()
        return lambda pipeline_id, timezone: VariableState(
            VariableStateOptions(type="variable"), Identity(pipeline_id, timezone), variables=variables
        )
