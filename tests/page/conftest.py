"""Provide the page's application behind Airflow's own authentication, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PREFIX = "/airflow-pipelines"
Login = Callable[..., Any]


@pytest.fixture(scope="session")
def airflow_app(airflow_db: Path) -> Iterator[Any]:
    """Airflow's whole API with the plugin mounted, and a SimpleAuthManager with an admin and a viewer."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    purge_cached_app()
    yield create_app()
    purge_cached_app()


@pytest.fixture
def client(airflow_app: Any) -> Login:
    """Return a function that gives a client of a user: `client("admin")`, `client("viewer")`, `client(None)`."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    def login(
        role: str | None = "admin", name: str | None = None, teams: list[str] | None = None
    ) -> TestClient:
        headers = {}
        if role is not None:
            user = SimpleAuthManagerUser(username=name or role, role=role, teams=teams)
            headers["Authorization"] = f"Bearer {get_auth_manager().generate_jwt(user)}"
        return TestClient(airflow_app, headers=headers, raise_server_exceptions=False)

    return login
