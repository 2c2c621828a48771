"""Answers: schemas, executions and lists as the clients of executions read them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.executions import states
from orchestrator.executions.forms import partners
from orchestrator.executions.lists.listing import Listing

SCHEMAS, EXECUTIONS = "/api/schemas/", "/api/executions/"


def body(document: Any) -> bytes:
    """Return a document as JSON, text as itself."""
    return json.dumps(document, ensure_ascii=False).encode()


class Answers:
    """Writes answers to a request.

    Args:
        origin: the beginning of URLs that the client can follow, as in `http://portal.example:8080`.
        maas: host and port of MaaS.
        zone: of the times.
    """

    def __init__(self, origin: str, maas: str, zone: ZoneInfo) -> None:
        self._origin = origin
        self._maas = f"http://{maas}/api"
        self._zone = zone

    def root(self) -> dict[str, Any]:
        """Return where the lists are."""
        return {"schemas": f"{self._origin}{SCHEMAS}", "executions": f"{self._origin}{EXECUTIONS}"}

    def schema(self, schema: pb.WorkflowSchema) -> dict[str, Any]:
        """Return a schema."""
        url = self._schema_url(schema.name)
        return {
            "url": url,
            "name": schema.name,
            "type": schema.type,
            "implementation": schema.implementation,
            "description": schema.description,
            "auxiliary_file": f"{url}download_auxiliary_file/",
            "created_at": self._time(schema.created_at),
            "input_elements": {
                "platform_data": schema.platform_data,
                "external_data": schema.external_data,
                "report_metadata": schema.report_metadata,
                "federated_learning_configuration": schema.federated_learning_configuration,
            },
            "ai_elements": {
                "ai_engines": [
                    {
                        "descriptor": engine.descriptor_name,
                        "role_type": engine.role_type,
                        "functionalities": list(engine.functionalities),
                        "ai_model": engine.ai_model,
                    }
                    for engine in schema.engines
                ]
            },
            "output_elements": {
                "ai_model": schema.output_ai_model,
                "evaluation_metrics": schema.output_evaluation_metrics,
                "generic_file": schema.output_generic_file,
            },
        }

    def execution(self, execution: pb.Execution) -> dict[str, Any]:
        """Return an execution."""
        url = f"{self._origin}{EXECUTIONS}{execution.id}/"
        state = {"status": states.WORDS[execution.status]}
        if execution.message:
            state["message"] = execution.message
        return {
            "url": url,
            "id": execution.id,
            "schema": self._schema_url(execution.schema),
            "created_at": self._time(execution.created_at),
            "updated_at": self._time(execution.updated_at),
            "state": state,
            "input_elements": _input_elements(execution, url),
            "ai_elements": {"ai_engines": [self._engine(engine, url) for engine in execution.engines]},
            "output_elements": self._output_elements(execution),
        }

    def _engine(self, engine: pb.ExecutionEngine, url: str) -> dict[str, Any]:
        descriptor = quote(engine.descriptor_name, safe="")
        shown = {
            "descriptor": engine.descriptor_name,
            "version": f"{self._maas}/ai_engines_versions/{engine.version}/",
            "version_user_vars": f"{url}download_user_vars/?descriptor={descriptor}",
        }
        if engine.HasField("ai_model"):
            shown["ai_model"] = f"{self._maas}/ai_models/{engine.ai_model}/"
        return shown

    def _output_elements(self, execution: pb.Execution) -> dict[str, Any]:
        if execution.status != states.SUCCEEDED:
            if not execution.HasField("output_model"):
                return {}
            model = execution.output_model
            merge_type = model.merge_type if model.HasField("merge_type") else None
            return {"ai_model": {"name": model.name, "description": model.description, "merge_type": merge_type}}
        made: dict[str, Any] = {}
        results = execution.results
        if results.HasField("ai_model"):
            made["ai_model"] = {"ai_model": f"{self._maas}/ai_models/{results.ai_model}/"}
        if results.evaluation_metrics:
            made["evaluation_metrics"] = [
                {"evaluation_metric": f"{self._maas}/evaluation_metrics/{each}/"} for each in results.evaluation_metrics
            ]
        if results.HasField("generic_file"):
            made["generic_file"] = {"generic_file": f"{self._maas}/generic_files/{results.generic_file}/"}
        return made

    def listing(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        asked: Listing,
        count: int,
        page: int,
        rows: Iterable[dict[str, Any]],
    ) -> Iterator[bytes]:
        """Yield a page of a list as JSON, piece by piece.

        Args:
            path: of the list.
            query: the parameters of the request.
            asked: what they ask for.
            count: rows of the whole list.
            page: the number of the page.
            rows: those of the page.
        """
        others = [(name, value) for name, value in query if name != "page"]

        def link(number: int) -> str:
            given = sorted([*others, *([("page", str(number))] if number > 1 else [])])
            return f"{self._origin}{path}{'?' if given else ''}{urlencode(given)}"

        head = {
            "count": count,
            "next": link(page + 1) if page < asked.last(count) else None,
            "previous": link(page - 1) if page > 1 else None,
        }
        yield body(head)[:-1] + b', "results": ['
        for place, row in enumerate(rows):
            yield (b", " if place else b"") + body(row)
        yield b"]}"

    def _schema_url(self, name: str) -> str:
        return f"{self._origin}{SCHEMAS}{quote(name, safe='')}/"

    def _time(self, moment: Timestamp) -> str:
        return moment.ToDatetime(self._zone).isoformat(timespec="microseconds")


def _input_elements(execution: pb.Execution, url: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if execution.partners:
        given["platform_data"] = {"data_partners_patients": partners.patients(execution.partners)}
    if execution.HasField("external_data"):
        given["external_data"] = {"contents": f"{url}download_external_data/"}
    if execution.HasField("report_metadata"):
        given["report_metadata"] = f"{url}download_report_metadata/"
    if execution.number_iterations:
        given["federated_learning_configuration"] = {"number_iterations": execution.number_iterations}
    return given
