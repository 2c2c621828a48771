"""Schemas and executions on a side: the requests of a portal and of pods, and what is stored by them beforehand."""

import json
from typing import Any

import httpx

from benchmarks.errors import BenchError
from benchmarks.exchanges import PLAIN, Exchange, drive
from benchmarks.requests import new_key
from benchmarks.side import Side
from benchmarks.stage import Stage

LARGEST_PAGE = 500

_EXECUTIONS = "/api/executions/"
_ENGINE = "engine"
_USER_VARS = json.dumps({"epochs": 3, "learning_rate": 0.001, "layers": list(range(200))}).encode()
_SECONDS = 300.0
_CLIENTS = 8


def schema(side: Side) -> str:
    """Store a schema of one engine, of which nothing is started; return its name."""
    name = f"bench {new_key()}"
    engine = {
        "descriptor": _ENGINE,
        "role_type": "*",
        "functionalities": ["training_from_scratch"],
        "ai_model": False,
    }
    described = {
        "name": name,
        "type": "individual",
        "implementation": "dummy",
        "description": "an engine that takes its variables",
        "input_elements": {"platform_data": False, "external_data": False, "federated_learning_configuration": False},
        "ai_elements": {"ai_engines": [engine]},
        "output_elements": {"ai_model": False, "evaluation_metrics": False, "generic_file": False},
    }
    send(side, _with_parts("POST", "/api/schemas/", described, auxiliary_file=b"kind: Workflow\n"))
    return name


def creation(schema_: str) -> Exchange:
    """Return the request of an execution of a schema, with a file of its engine's variables."""
    data = {
        "schema": schema_,
        "input_elements": {},
        "ai_elements": {"ai_engines": [{"descriptor": _ENGINE, "version": 1}]},
        "output_elements": {},
    }
    return _with_parts("POST", _EXECUTIONS, data, **{f"{_ENGINE}_version_user_vars": _USER_VARS})


def reports(execution: str) -> list[Exchange]:
    """Return the requests by which the pods of an execution report that it runs, and that it has succeeded."""
    return [
        Exchange("PATCH", f"{_EXECUTIONS}{execution}/update_to_running/"),
        _with_parts("PATCH", f"{_EXECUTIONS}{execution}/update_to_succeeded/", {}),
    ]


def page(schema_: str, size: int, number: int = 1) -> Exchange:
    """Return the request of a page of the executions of a schema, the newest first."""
    query = httpx.QueryParams({"schema": schema_, "page_size": size, "page": number})
    return Exchange("GET", f"{_EXECUTIONS}?{query}")


def state(side: Side, execution: str) -> str:
    """Return the state of an execution."""
    return str(send(side, Exchange("GET", f"{_EXECUTIONS}{execution}/"))["state"]["status"])


def store(stage: Stage, side: Side, count: int) -> str:
    """Store a schema and so many executions of it, outside any measurement; return the schema's name.

    Raises:
        BenchError: one was refused.
    """
    name = schema(side)
    done = stage.run(drive, side.http, _CLIENTS, [[creation(name)]] * count, _SECONDS)
    if done.calls != count:
        raise BenchError(f"{side.name} stored {done.calls} executions of {count}; {done.reason or 'it took too long'}")
    return name


def pending(stage: Stage, side: Side, count: int) -> list[str]:
    """Store executions of a schema of their own; return their ids."""
    name = store(stage, side, count)
    pages = range(1, -(-count // LARGEST_PAGE) + 1)
    return [str(each["id"]) for number in pages for each in send(side, page(name, LARGEST_PAGE, number))["results"]]


def send(side: Side, exchange: Exchange) -> Any:
    """Send a request outside any measurement; return what it is answered.

    Raises:
        BenchError: it is refused.
    """
    with httpx.Client(base_url=side.http, **PLAIN) as http:
        answer = http.request(exchange.method, exchange.path, content=exchange.body or None, headers=exchange.headers)
    if not answer.is_success:
        raise BenchError(f"{side.name}: {exchange.method} {exchange.path}: {answer.status_code} {answer.text[:500]}")
    return answer.json()


def _with_parts(method: str, path: str, data: Any, **files: bytes) -> Exchange:
    parts: list[Any] = [("data", (None, json.dumps(data)))]
    parts += [(name, (f"{name}.bin", content)) for name, content in files.items()]
    written = httpx.Request(method, f"http://any{path}", files=parts)
    return Exchange(method, path, written.read(), written.headers["Content-Type"])
