"""The application that the api-server mounts: who may ask, what is served, with which headers."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from airflow_pipeline_provider.factory.plugin import URL_PREFIX, PipelinePlugin
from airflow_pipeline_provider.web import static_files
from airflow_pipeline_provider.web.static_files import read_files
from tests.page.conftest import Login


def test_each_route_needs_a_user(client: Login, airflow_app: Any) -> None:
    app = PipelinePlugin().fastapi_apps[0]["app"]
    paths = [
        route.path.replace("{name:path}", "app.js").replace("{dag_id}", "flights") for route in app.routes
    ]
    assert "/static/app.js" in paths
    anonymous = client(None)
    for path in paths:
        for method in ("GET", "POST"):
            assert anonymous.request(method, URL_PREFIX + path).status_code in (401, 405), path


def test_a_forged_token_is_refused(client: Login) -> None:
    answer = client(None).get(f"{URL_PREFIX}/static/app.js", headers={"Authorization": "Bearer forged"})
    assert answer.status_code in (401, 403)


def test_a_module_has_its_type_and_is_not_sent_twice(client: Login) -> None:
    viewer = client("viewer")
    answer = viewer.get(f"{URL_PREFIX}/static/app.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    again = viewer.get(f"{URL_PREFIX}/static/app.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "no_such.js",
        "../app.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "/etc/passwd",
        "%00",
        "\u202egnp.js",
        "app.js/",
    ],
)
def test_only_files_of_the_folder_are_served(client: Login, path: str) -> None:
    answer = client().get(f"{URL_PREFIX}/static/{path}")
    assert answer.status_code in (400, 404)
    assert b"build_app" not in answer.content


def test_only_known_types_are_served(tmp_path: Any) -> None:
    for name in ("a.js", "b.py", "sub/c.css", "sub/.secret"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert {name: file.media_type for name, file in read_files(tmp_path).items()} == {
        "a.js": "text/javascript; charset=utf-8",
        "sub/c.css": "text/css; charset=utf-8",
    }
    assert "app.js" in static_files.FILES


def test_there_are_no_generated_pages_of_the_api(client: Login) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client().get(URL_PREFIX + path).status_code == 404


@pytest.mark.parametrize("base", ["http://localhost:8080", "https://host/team/airflow/"])
def test_the_bundle_is_below_the_base_path(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_pipeline_provider.factory.plugin import bundle_url

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    prefix = "/team/airflow" if "team" in base else ""
    assert bundle_url() == f"{prefix}/airflow-pipelines/static/app.js"


def test_airflow_lists_both_views(client: Login) -> None:
    found = client().get("/api/v2/plugins").json()["plugins"]
    views = next(one for one in found if one["name"] == "airflow_pipeline_provider")["react_apps"]
    assert [(view["destination"], view["url_route"], view["nav_top_level"]) for view in views] == [
        ("nav", "pipelines", True),
        ("dag", "windows", False),
    ]


APP = "airflow_pipeline_provider.web.app"


@pytest.mark.parametrize(
    "error",
    [
        ImportError("cannot import name 'GetUserDep'", name="airflow.api_fastapi.core_api.security"),
        ModuleNotFoundError("No module named 'airflow_pipeline_provider.web.read'"),
        AttributeError("type object 'SerializedDagModel' has no attribute '_data'"),
        TypeError("requires_authenticated() takes 1 positional argument"),
        SyntaxError("invalid syntax"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("when", ["import", "build"])
def test_airflow_starts_without_the_page_if_it_cannot_be_loaded(
    error: Exception, when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(MetaPathFinder, Loader):
        def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
            return ModuleSpec(APP, self) if name == APP else None

        def exec_module(self, module: Any) -> None:
            module.build_app = self.fail
            if when == "import":
                self.fail()

        def fail(self) -> Any:
            raise error

    monkeypatch.delitem(sys.modules, APP, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    plugin = PipelinePlugin()
    assert (plugin.fastapi_apps, plugin.fastapi_apps) == ([], [])
    (record,) = [one for one in caplog.records if one.name.endswith("factory.plugin")]
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    for part in ("the page Pipelines cannot be loaded", str(error), f"{__file__}:", "Upgrade or reinstall"):
        assert part in record.getMessage()
