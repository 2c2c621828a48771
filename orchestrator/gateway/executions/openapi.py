"""The REST API of executions as an OpenAPI document, for people and for programs that try it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.executions.forms import schema_form
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway.executions.answers import EXECUTIONS, SCHEMAS

_TEXT: Mapping[str, Any] = {"type": "string"}
_BOOLEAN: Mapping[str, Any] = {"type": "boolean"}
_URL: Mapping[str, Any] = {"type": "string", "format": "uri"}
_TIME: Mapping[str, Any] = {"type": "string", "format": "date-time"}
_NUMBER: Mapping[str, Any] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_FILE: Mapping[str, Any] = {"type": "string", "format": "binary"}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}}
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 100}}


def document(settings: ExecutionSettings) -> dict[str, Any]:
    """Return the document.

    Args:
        settings: say which data partners and functionalities there are.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "Executions of stored schemas", "version": "1"},
        "paths": _paths(),
        "components": {"schemas": _components(settings)},
    }


def _paths() -> dict[str, Any]:
    one, run = f"{SCHEMAS}{{name}}/", f"{EXECUTIONS}{{id}}/"
    return {
        "/api/": {"get": _operation("root", "Where the lists are", {"200": _json({"type": "object"})})},
        SCHEMAS: {
            "get": _operation(
                "listSchemas",
                "List schemas",
                {"200": _json(_ref("SchemaList")), "400": _problem(), "404": _detail()},
                [*_paging(), *(_query(name) for name in ("name", "type", "implementation"))],
            ),
            "post": _operation(
                "createSchema",
                "Store a schema",
                {"201": _json(_ref("Schema")), "400": _problem(), "415": _detail()},
                body=_multipart("NewSchema", [schema_form.FILE]),
            ),
        },
        one: {
            "get": _operation("getSchema", "Show a schema", {"200": _json(_ref("Schema")), "404": _detail()}, [_NAME]),
            "delete": _operation(
                "deleteSchema", "Delete a schema and its executions", {"204": _nothing(), "404": _detail()}, [_NAME]
            ),
        },
        f"{one}download_auxiliary_file/": {
            "get": _operation("downloadAuxiliaryFile", "Download the template", _download(), [_NAME])
        },
        EXECUTIONS: {
            "get": _operation(
                "listExecutions",
                "List executions",
                {"200": _json(_ref("ExecutionList")), "400": _problem(), "404": _detail()},
                [*_paging(), _query("schema")],
            ),
            "post": _operation(
                "createExecution",
                "Start an execution",
                {"201": _json(_ref("Execution")), "400": _problem(), "415": _detail()},
                [_query("debug")],
                _multipart("NewExecution", ["external_data", "report_metadata"]),
            ),
        },
        run: {
            "get": _operation(
                "getExecution", "Show an execution", {"200": _json(_ref("Execution")), "404": _detail()}, [_ID]
            ),
            "delete": _operation(
                "deleteExecution", "Delete an execution", {"204": _nothing(), "404": _detail()}, [_ID]
            ),
        },
        f"{run}download_external_data/": {
            "get": _operation("downloadExternalData", "Download the external data", _download(), [_ID])
        },
        f"{run}download_report_metadata/": {
            "get": _operation("downloadReportMetadata", "Download the report metadata", _download(), [_ID])
        },
        f"{run}download_user_vars/": {
            "get": _operation(
                "downloadUserVars", "Download the variables of an engine", _download(), [_ID, _query("descriptor")]
            )
        },
        f"{run}retrieve_data_partner_information/": {
            "get": _operation(
                "getDataPartnerInformation",
                "Show what was sent for a data partner",
                {"200": _json({"type": "object"}), "400": _problem(), "404": _detail()},
                [_ID, _query("data_partner")],
            )
        },
        f"{run}update_to_running/": {"patch": _report("Running", None)},
        f"{run}update_to_failed/": {"patch": _report("Failed", "Failure")},
        f"{run}update_to_succeeded/": {"patch": _report("Succeeded", "Success")},
    }


def _operation(
    name: str,
    summary: str,
    responses: Mapping[str, Any],
    parameters: Sequence[Mapping[str, Any]] = (),
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": {**responses, "406": _detail()}}
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = body
    return operation


def _report(state: str, data: str | None) -> dict[str, Any]:
    responses = {"200": _json(_ref("Execution")), "400": _problem(), "404": _detail()}
    if data:
        responses["415"] = _detail()
    body = _multipart(data, []) if data else None
    return _operation(f"report{state}", f"Report that an execution is {state.lower()}", responses, [_ID], body)


def _multipart(data: str, files: Sequence[str]) -> dict[str, Any]:
    properties = {"data": _ref(data), **dict.fromkeys(files, _FILE)}
    # Files are called by what a schema asks for, so that no list of them is whole.
    form = {"type": "object", "properties": properties, "additionalProperties": _FILE}
    return {
        "content": {"multipart/form-data": {"schema": form, "encoding": {"data": {"contentType": "application/json"}}}}
    }


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _nothing() -> dict[str, Any]:
    return {"description": "Done; nothing is left"}


def _download() -> dict[str, Any]:
    file = {"description": "The file", "content": {"application/octet-stream": {"schema": _FILE}}}
    return {"200": file, "206": file, "400": _problem(), "404": _detail(), "416": _detail()}


def _problem() -> dict[str, Any]:
    either = {"oneOf": [{"type": "array", "items": _TEXT}, {"type": "object"}]}
    return {"description": "What is wrong", "content": {"application/json": {"schema": either}}}


def _detail() -> dict[str, Any]:
    detail = {"type": "object", "properties": {"detail": _TEXT}, "required": ["detail"]}
    return {"description": "How it was asked is wrong", "content": {"application/json": {"schema": detail}}}


def _query(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": _TEXT}


def _paging() -> list[dict[str, Any]]:
    return [_query("page"), _query("page_size"), _query("sort")]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def _one_of(values: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _components(settings: ExecutionSettings) -> dict[str, Any]:
    engine = _object(
        {
            "descriptor": {"type": "string", "minLength": 1, "maxLength": 100},
            "role_type": {"type": "string", "minLength": 1, "maxLength": 50},
            "functionalities": {
                "type": "array",
                "minItems": 1,
                "items": _one_of(settings.valid_ai_engine_functionalities),
            },
            "ai_model": _BOOLEAN,
        }
    )
    inputs = {
        "platform_data": _BOOLEAN,
        "external_data": _BOOLEAN,
        "federated_learning_configuration": _BOOLEAN,
    }
    outputs = {"ai_model": _BOOLEAN, "evaluation_metrics": _BOOLEAN, "generic_file": _BOOLEAN}
    new_schema = {
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "type": _one_of(schema_form.TYPES),
        "implementation": _one_of(schema_form.IMPLEMENTATIONS),
        "description": {"type": "string", "minLength": 1},
        "input_elements": _object(inputs, report_metadata=_BOOLEAN),
        "ai_elements": _object({"ai_engines": {"type": "array", "minItems": 1, "items": engine}}),
        "output_elements": _object(outputs),
    }
    patient = _object({"id": {"type": ["string", "number"]}, "clinical_data": {}})
    partner = _object(
        {
            "system_path": {},
            "fields_definition": {},
            "sheets_definition": {},
            "patients": {"type": "array", "minItems": 1, "items": patient},
        }
    )
    partners = {
        "type": "object",
        "minProperties": 1,
        "properties": dict.fromkeys(settings.valid_data_partners, partner),
        "additionalProperties": False,
    }
    new_engine = _object({"descriptor": _TEXT, "version": _NUMBER}, ai_model=_NUMBER)
    model = _object({"name": {"type": "string", "maxLength": 100}, "description": _TEXT}, merge_type=_TEXT)
    iterations = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
    state = _object({"status": _one_of(("pending", "running", "succeeded", "failed"))}, message=_TEXT)
    plain = {"type": "object"}
    return {
        "NewSchema": _object(new_schema),
        "Schema": _object({"url": _URL, **new_schema, "auxiliary_file": _URL, "created_at": _TIME}),
        "NewExecution": _object(
            {
                "schema": _TEXT,
                "input_elements": _object(
                    {},
                    platform_data=_object({"data_partners_patients": partners}),
                    federated_learning_configuration=_object({"number_iterations": iterations}),
                ),
                "ai_elements": _object({"ai_engines": {"type": "array", "items": new_engine}}),
                "output_elements": _object({}, ai_model=model),
            }
        ),
        "Execution": _object(
            {
                "url": _URL,
                "id": {"type": "integer"},
                "schema": _URL,
                "created_at": _TIME,
                "updated_at": _TIME,
                "state": state,
                "input_elements": plain,
                "ai_elements": plain,
                "output_elements": plain,
            }
        ),
        "Failure": _object({"message": {"type": "string", "minLength": 1}}),
        "Success": _object(
            {},
            ai_model=_object({"ai_model": _NUMBER}),
            evaluation_metrics={"type": "array", "minItems": 1, "items": _object({"evaluation_metric": _NUMBER})},
            generic_file=_object({"generic_file": _NUMBER}),
        ),
        "SchemaList": _list("Schema"),
        "ExecutionList": _list("Execution"),
    }


def _list(name: str) -> dict[str, Any]:
    link = {"type": ["string", "null"]}
    rows = {"type": "array", "items": _ref(name)}
    return _object({"count": {"type": "integer"}, "next": link, "previous": link, "results": rows})
