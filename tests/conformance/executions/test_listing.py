"""Lists: pages with numbers, their links, order and filters."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.kit.portal import Portal


@pytest.fixture(scope="module")
def schema(portal: Portal) -> dict[str, Any]:
    return portal.schema(type="joint")


@pytest.fixture(scope="module")
def executions(portal: Portal, schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Seven executions of a schema, the newest first."""
    return [portal.execution(schema) for _ in range(7)][::-1]


def test_pages_and_their_links(portal: Portal, schema: dict[str, Any], executions: list[dict[str, Any]]):
    path = "/api/executions/"
    wanted = {"schema": schema["name"], "page_size": "3", "a": "ä ü"}
    first = portal.get(path, params=wanted).json()
    assert list(first) == ["count", "next", "previous", "results"]
    assert (first["count"], first["previous"], first["results"]) == (7, None, executions[:3])
    assert [name for name, _ in parse_qsl(urlsplit(first["next"]).query)] == ["a", "page", "page_size", "schema"]
    second = portal.get(first["next"]).json()
    assert second["results"] == executions[3:6]
    assert "page=" not in urlsplit(second["previous"]).query.replace("page_size=", "")
    assert portal.get(second["previous"]).json() == first
    last = portal.get(second["next"]).json()
    assert (last["next"], last["results"]) == (None, executions[6:])
    assert portal.get(path, params={**wanted, "page": "last"}).json() == {**last, "previous": last["previous"]}


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.0", "4", "9" * 30, "٣"])
def test_a_page_that_is_none(portal: Portal, schema: dict[str, Any], executions: list[dict[str, Any]], page: str):
    answer = portal.get("/api/executions/", params={"schema": schema["name"], "page_size": "3", "page": page})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Invalid page."})


def test_an_empty_list_has_a_page(portal: Portal):
    for page in ("1", "last"):
        answer = portal.get("/api/schemas/", params={"name": "none", "page": page})
        assert answer.json() == {"count": 0, "next": None, "previous": None, "results": []}
    assert portal.get("/api/schemas/", params={"name": "none", "page": "2"}).status_code == 404


@pytest.mark.parametrize(("size", "rows"), [("0", 7), ("-3", 7), ("x", 7), ("2", 2), ("5000", 7)])
def test_the_size_of_a_page(portal: Portal, schema: dict[str, Any], executions: Any, size: str, rows: int):
    answer = portal.get("/api/executions/", params={"schema": schema["name"], "page_size": size})
    assert len(answer.json()["results"]) == rows


@pytest.mark.parametrize(
    ("sort", "reverse"),
    [
        ("", False),
        ("created_at", True),
        ("-created_at", False),
        ("nothing,-updated_at", False),
        ("schema,created_at", True),
    ],
)
def test_the_order(portal: Portal, schema: dict[str, Any], executions: list[dict[str, Any]], sort: str, reverse: bool):
    answer = portal.get("/api/executions/", params={"schema": schema["name"], "sort": sort})
    assert answer.json()["results"] == (executions[::-1] if reverse else executions)


def test_filters(portal: Portal, schema: dict[str, Any]):
    portal.schema()
    for nobody in ("no", "\0"):
        assert portal.get("/api/schemas/", params={"name": nobody}).json()["count"] == 0
    for params, status in (
        ({"name": schema["name"], "type": "joint", "implementation": "dummy"}, 200),
        ({"name": schema["name"], "type": "", "status": "weird"}, 200),
        ({"name": schema["name"], "type": "individual"}, 200),
    ):
        answer = portal.get("/api/schemas/", params=params)
        assert answer.status_code == status
        assert answer.json()["results"] == ([] if params.get("type") == "individual" else [schema])
    answer = portal.get("/api/schemas/", params={"type": "weird", "implementation": "odd", "name": "x"})
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "type": ["Select a valid choice. weird is not one of the available choices."],
            "implementation": ["Select a valid choice. odd is not one of the available choices."],
        },
    )
    answer = portal.get("/api/executions/", params={"schema": "none"})
    words = "Select a valid choice. That choice is not one of the available choices."
    assert (answer.status_code, answer.json()) == (400, {"schema": [words]})
    assert portal.get("/api/executions/", params={"schema": "", "status": "failed"}).status_code == 200


def test_a_page_of_megabytes_is_as_any_other(portal: Portal):
    made = [portal.schema(description=f"größe {letter * 700_000}", type="joint") for letter in "abc"]
    wanted = {"type": "joint", "sort": "created_at"}
    answer = portal.get("/api/schemas/", params=wanted)
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.json()["results"][-3:] == made
    headed = portal.http.head("/api/schemas/", params=wanted)
    assert (headed.headers["content-length"], headed.content) == (answer.headers["content-length"], b"")
    assert not [*(portal.root / ".incoming").iterdir()]
    for each in made:
        assert portal.http.delete(each["url"]).status_code == 204
