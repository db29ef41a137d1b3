"""Provide the page's application behind Airflow's own authentication, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.page.place import Place

PREFIX = "/airflow-pipelines"
API = f"{PREFIX}/api"
Login = Callable[..., Any]
Ask = Callable[..., Any]


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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_app: Any) -> Iterator[Place]:
    """A pipeline that may be changed."""
    from tests.page.place import made

    yield from made(tmp_path, monkeypatch)


@pytest.fixture
def by_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_app: Any) -> Iterator[Place]:
    """The same with its state in Airflow's Variables."""
    from tests.page.place import made

    yield from made(tmp_path, monkeypatch, state={"type": "variable"})


@pytest.fixture
def nothing_kept() -> None:
    """Every test begins as a new process of the api-server does."""
    from airflow_pipeline_provider.web import catalog, pipelines, rows, stores

    catalog.forget_catalog()
    pipelines.forget_gone()
    rows.forget_rows()
    stores.forget_stores()


@pytest.fixture
def ask(client: Login) -> Ask:
    """Return a function that returns the JSON of an answer to an admin, which must be a success."""

    def get(path: str, **query: Any) -> Any:
        answer = client().get(f"{API}{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


class queries:
    """The statements on the state's database in the block, without the opening of transactions."""

    def __init__(self) -> None:
        from airflow_pipeline_provider.web.stores import _stores

        stores = [kept for kept in _stores.values() if kept.state is not None]
        self.engines = [kept.state._database().engine for kept in stores if hasattr(kept.state, "_database")]
        self.found: list[str] = []

    def __enter__(self) -> list[str]:
        import sqlalchemy as sa

        for engine in self.engines:
            sa.event.listen(engine, "before_cursor_execute", self._count)
        return self.found

    def __exit__(self, *_: object) -> None:
        import sqlalchemy as sa

        for engine in self.engines:
            sa.event.remove(engine, "before_cursor_execute", self._count)

    def _count(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "SELECT set_config")):
            self.found.append(statement)
