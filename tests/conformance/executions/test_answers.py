"""What all answers have in common: URLs by the request's host, times, text as itself, HEAD, and methods."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.kit.portal import Portal, new_execution, new_schema

ELSEWHERE = "portal.example:81"
EVERYTHING = {"platform_data": True, "external_data": True, "report_metadata": True}


@pytest.fixture(scope="module")
def schema(portal: Portal) -> dict[str, Any]:
    return portal.schema(inputs=EVERYTHING, description="größe 🔭")


@pytest.fixture(scope="module")
def execution(portal: Portal, schema: dict[str, Any]) -> dict[str, Any]:
    return portal.execution(schema)


def paths(schema: dict[str, Any], execution: dict[str, Any]) -> list[str]:
    """Every path that GET has."""
    one, other = (each["url"].partition("/api/")[2] for each in (schema, execution))
    files = ("download_external_data/", "download_report_metadata/", "download_user_vars/?descriptor=main-ai-engine")
    partner = "retrieve_data_partner_information/?data_partner=data-partner-1"
    below = [f"{other}{each}" for each in ("", *files, partner)]
    return [f"/api/{each}" for each in ("", "schemas/", one, f"{one}download_auxiliary_file/", "executions/", *below)]


def test_head_has_the_status_and_the_headers_of_get_on_every_path(portal: Portal, schema: Any, execution: Any):
    for path in paths(schema, execution):
        got, headed = portal.get(path), portal.http.head(path)
        assert (got.status_code, headed.status_code, headed.content) == (200, 200, b""), path
        for name in ("content-type", "content-length", "content-encoding", "transfer-encoding", "accept-ranges"):
            assert headed.headers.get_list(name) == got.headers.get_list(name), (path, name)
        assert headed.headers["content-length"] == str(len(got.content)), path


def test_urls_in_bodies_and_locations_are_of_the_host_that_was_asked(portal: Portal, execution: dict[str, Any]):
    here = {"Host": ELSEWHERE}
    stored = portal.send("POST", "/api/schemas/", new_schema(), {"auxiliary_file": b"x"}, headers=here)
    portal.execution(stored.json())
    made = portal.send("POST", "/api/executions/", *new_execution(stored.json()), headers=here)
    for answer in (stored, made):
        assert answer.headers["location"] == answer.json()["url"]
        assert answer.json()["url"].startswith(f"http://{ELSEWHERE}/api/")
    reported = portal.http.patch(f"/api/executions/{made.json()['id']}/update_to_running/", headers=here)
    listed = portal.get("/api/executions/", params={"page_size": "1", "page": "2"}, headers=here)
    everything = f"{stored.text}{made.text}{reported.text}{listed.text}"
    everything += portal.get(execution["url"].partition(portal.host)[2], headers=here).text
    assert portal.host not in everything
    assert set(re.findall(r"http://([^/]+)/", everything)) == {ELSEWHERE, "maas.example:8000"}
    links = listed.json()
    assert links["next"].startswith(f"http://{ELSEWHERE}/api/executions/?")
    assert links["previous"].startswith(f"http://{ELSEWHERE}/api/executions/?")


def test_times_are_those_of_madrid_to_the_microsecond(portal: Portal):
    created = portal.execution(portal.schema())
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d", created[name])
        moment = datetime.fromisoformat(created[name])
        assert moment.utcoffset() == moment.astimezone(ZoneInfo("Europe/Madrid")).utcoffset()
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def test_text_is_itself_in_utf_8(portal: Portal, schema: dict[str, Any]):
    answer = portal.get(schema["url"])
    assert "größe 🔭".encode() in answer.content
    assert answer.headers["content-type"] == "application/json"


NOT_ALLOWED = {
    "/api/": {"POST", "PUT", "PATCH", "DELETE"},
    "/api/schemas/": {"PUT", "PATCH", "DELETE"},
    "/api/executions/": {"PUT", "PATCH", "DELETE"},
    "/api/schemas/x/": {"POST", "PUT", "PATCH"},
    "/api/executions/7/": {"POST", "PUT", "PATCH"},
    "/api/executions/7/update_to_running/": {"GET", "POST", "PUT", "DELETE"},
    "/api/executions/7/update_to_failed/": {"GET", "POST", "PUT", "DELETE"},
    "/api/executions/7/update_to_succeeded/": {"GET", "POST", "PUT", "DELETE"},
    "/api/executions/7/download_external_data/": {"POST", "PUT", "PATCH", "DELETE"},
    "/api/executions/7/retrieve_data_partner_information/": {"POST", "PUT", "PATCH", "DELETE"},
}


@pytest.mark.parametrize(("path", "methods"), NOT_ALLOWED.items())
def test_no_path_takes_a_method_that_it_has_not(portal: Portal, path: str, methods: set[str]):
    for method in methods:
        answer = portal.http.request(method, path)
        assert (answer.status_code, answer.json()) == (405, {"detail": f'Method "{method}" not allowed.'})
        assert not methods & {each.strip() for each in answer.headers["allow"].split(",")}


def test_a_page_has_a_hundred_rows_and_at_most_five_hundred(portal: Portal):
    schema = portal.schema()
    execution = portal.execution(schema)
    with psycopg.connect(portal.database) as connection:
        connection.execute(
            "INSERT INTO executions (channel, schema, created_at, updated_at, status, definition) "
            "SELECT channel, schema, created_at, updated_at, status, definition "
            "FROM executions, generate_series(1, 600) WHERE id = %s",
            [execution["id"]],
        )
    for size, rows in (("", 100), ("0", 100), ("-1", 100), ("x", 100), ("101", 101), ("500", 500), ("501", 500)):
        page = portal.get("/api/executions/", params={"schema": schema["name"], "page_size": size}).json()
        assert (page["count"], len(page["results"])) == (601, rows), size
    assert portal.get("/api/executions/", params={"schema": schema["name"]}).json()["next"] is not None
    assert portal.http.delete(schema["url"]).status_code == 204
