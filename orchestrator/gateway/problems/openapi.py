"""The native HTTP of problems as an OpenAPI document, for people and for programs that try it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.gateway.problems import native_shapes, openapi_schemas
from orchestrator.problems import graph

_TEXT: Mapping[str, Any] = {"type": "string"}
_NUMBER: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_KIND: Mapping[str, Any] = {"type": "string", "enum": [kind.name for kind in graph.KINDS.values()]}
_PROBLEM, _ITERATION = "/api/problems/{problem}", "/api/problems/{problem}/iterations/{iteration}"


def document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Problems and the nodes that solve them", "version": "1"},
        "paths": {**_nodes(), **_problems(), **_iterations(), **_events()},
        "components": {"schemas": openapi_schemas.components()},
    }


def _nodes() -> dict[str, Any]:
    kind, command = _path("kind", _KIND), _path("command", {"type": "string", "format": "uuid"})
    return {
        "/api/nodes": {"get": _operation("listNodes", "List the kinds of nodes", {"200": _json("NodeList")})},
        "/api/nodes/{kind}": {
            "get": _operation("getNode", "Show a kind of nodes", {"200": _json("Node"), "404": _problem()}, [kind])
        },
        "/api/nodes/{kind}/configuration": {
            "post": _operation(
                "configure",
                "Ask a replica of a kind, or all, and wait for the answers",
                {"200": _json("ConfigurationAnswers"), **_problems_of(400, 403, 404, 413, 503, 504)},
                [kind],
                "ConfigurationRequest",
            )
        },
        "/api/control": {
            "get": _operation(
                "listCommands", "List commands, the newest first", {"200": _json("CommandList")}, _paging()
            ),
            "post": _operation(
                "giveCommand",
                "Give a command to nodes, about a task, or both",
                {"200": _json("Command"), "202": _json("Command"), **_problems_of(400, 404, 409, 413)},
                body="NewCommand",
            ),
        },
        "/api/control/{command}": {
            "get": _operation(
                "getCommand",
                "Show a command; with `wait`, once it is APPLIED or FAILED, or after so many seconds",
                {"200": _json("Command"), "404": _problem()},
                [command, _query("wait", {"type": "number", "minimum": 0, "maximum": 1})],
            )
        },
    }


def _problems() -> dict[str, Any]:
    return {
        "/api/problems": {
            "get": _operation(
                "listProblems", "List problems, the newest first", {"200": _json("ProblemList")}, _paging()
            ),
            "post": _operation(
                "submitProblem",
                "Store a task and start it",
                {"201": _json("Stored"), **_problems_of(400, 404, 413, 507)},
                [_idempotency()],
                "NewProblem",
            ),
        },
        _PROBLEM: {
            "get": _operation(
                "getProblem",
                "Show a problem with its iterations",
                {"200": _json("ProblemWithIterations"), "404": _problem()},
                [_path("problem", _NUMBER)],
            ),
            "delete": _operation(
                "deleteProblem",
                "Delete a problem that has ended",
                {"204": {"description": "It is gone"}, **_problems_of(404, 409)},
                [_path("problem", _NUMBER)],
            ),
        },
        f"{_PROBLEM}/iterations": {
            "post": _operation(
                "iterateProblem",
                "Store an iteration of a problem and start it",
                {"201": _json("Stored"), **_problems_of(400, 404, 413, 507)},
                [_path("problem", _NUMBER), _idempotency()],
                "NewIteration",
            )
        },
    }


def _iterations() -> dict[str, Any]:
    task = [_path("problem", _NUMBER), _path("iteration", _NUMBER)]
    return {
        _ITERATION: {
            "get": _operation(
                "getIteration", "Show an iteration", {"200": _json("Iteration"), "404": _problem()}, task
            ),
            "delete": _operation(
                "deleteIteration",
                "Delete an iteration that has ended",
                {"204": {"description": "It is gone"}, **_problems_of(404, 409)},
                task,
            ),
        },
        f"{_ITERATION}/start": {
            "post": _operation(
                "startIteration",
                "Start a prepared task, with what was filled in since; one that was started goes on",
                {"200": _json("Stored"), **_problems_of(400, 404, 409, 413)},
                task,
                "UserInput",
            )
        },
        f"{_ITERATION}/raw_model": {
            "get": _operation(
                "getRawModel",
                "Send the bytes of an iteration's model",
                {
                    "200": {
                        "description": "The bytes",
                        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                    },
                    "404": _problem(),
                },
                task,
            )
        },
    }


def _events() -> dict[str, Any]:
    types = ", ".join(native_shapes.TYPES.values())
    return {
        "/api/events": {
            "get": _operation(
                "followEvents",
                "Follow events, as Server-Sent Events; it has no end",
                {
                    "200": {"description": "Events", "content": {"text/event-stream": {"schema": _TEXT}}},
                    **_problems_of(404, 429),
                },
                [
                    {
                        "name": "Last-Event-ID",
                        "in": "header",
                        "description": "The last event that the client had, 0 for the beginning; absent: from now",
                        "schema": {"type": "integer", "minimum": 0},
                    },
                    _query("problem_id", _NUMBER),
                    _query("iteration_id", _NUMBER),
                    _query("type", {"type": "string", "description": f"Some of {types}, separated by commas"}),
                ],
            )
        }
    }


def _operation(
    name: str,
    summary: str,
    responses: Mapping[str, Any],
    parameters: Sequence[Mapping[str, Any]] = (),
    body: str | None = None,
) -> dict[str, Any]:
    # Whoever may not call, or asks for what cannot be, is told so at any of them.
    common = _problems_of(400, 401, 403)
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": {**common, **responses}}
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = {"content": {"application/json": {"schema": openapi_schemas.ref(body)}}}
    return operation


def _json(name: str) -> dict[str, Any]:
    return {"description": "Done", "content": {"application/json": {"schema": openapi_schemas.ref(name)}}}


def _problem() -> dict[str, Any]:
    return {
        "description": "Not done; `error` says what happened, to what, and what to do",
        "content": {"application/json": {"schema": openapi_schemas.ref("Error")}},
    }


def _problems_of(*codes: int) -> dict[str, Any]:
    return {str(code): _problem() for code in codes}


def _path(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _paging() -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}
    return [_query("limit", limit), _query("after", _TEXT)]


def _idempotency() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key, the same task",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[A-Za-z0-9_.-]+$"},
    }
