"""A server of executions, and a client of HTTP that knows nothing of it but the page of the contract."""

import itertools
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.servers import serving

PARTNERS = ("data-partner-1", "data-partner-2", "data-partner-3")


@dataclass
class Portal:
    """A client of the REST service.

    Args:
        http: its connection.
        root: the folder of the service's files.
        host: of the service.
        address: of its gRPC side.
        database: its URL.
    """

    http: httpx.Client
    root: Any
    host: str
    address: str = ""
    database: str = ""

    def send(self, method: str, path: str, data: Any = None, files: dict[str, bytes] | None = None, **more: Any) -> Any:
        """Send parts as curl does: one named data, and files."""
        parts: list[Any] = []
        if data is not None:
            text = data if isinstance(data, str | bytes) else json.dumps(data)
            parts.append(("data", (None, text)))
        for name, content in (files or {}).items():
            parts.append((name, (f"{name}.bin", content)))
        return self.http.request(method, path, files=parts or None, **more)

    def get(self, path: str, **more: Any) -> Any:
        return self.http.get(path, **more)

    def schema(self, **changes: Any) -> dict[str, Any]:
        """Store a schema, and return it."""
        answer = self.send("POST", "/api/schemas/", new_schema(**changes), {"auxiliary_file": b"kind: Workflow\n"})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def execution(self, schema: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Start an execution of a schema, and return it."""
        answer = self.send("POST", "/api/executions/", *new_execution(schema, **changes))
        assert answer.status_code == 201, answer.text
        return answer.json()

    def report(self, execution: dict[str, Any], state: str, data: Any = None) -> Any:
        return self.send("PATCH", f"/api/executions/{execution['id']}/update_to_{state}/", data)

    def kept(self) -> set[str]:
        """The names of the files that the service keeps."""
        return {each.name for each in self.root.iterdir() if each.is_file()}


_NUMBERS = itertools.count(1)


def new_schema(**changes: Any) -> dict[str, Any]:
    """A schema of one engine that takes nothing, and makes nothing."""
    inputs = {"platform_data": False, "external_data": False, "federated_learning_configuration": False}
    outputs = {"ai_model": False, "evaluation_metrics": False, "generic_file": False}
    engine = {
        "descriptor": "main-ai-engine",
        "role_type": "*",
        "functionalities": ["training_from_scratch"],
        "ai_model": False,
    }
    inputs |= changes.pop("inputs", {})
    outputs |= changes.pop("outputs", {})
    engines = changes.pop("engines", [engine])
    return {
        "name": f"schema {next(_NUMBERS)} {uuid.uuid4().hex[:6]}",
        "type": "individual",
        "implementation": "dummy",
        "description": "Takes nothing",
        "input_elements": inputs,
        "ai_elements": {"ai_engines": engines},
        "output_elements": outputs,
        **changes,
    }


def partner(*patients: Any) -> dict[str, Any]:
    """What is sent for a data partner."""
    return {
        "system_path": "/srv",
        "fields_definition": "",
        "sheets_definition": {"any": ["thing"]},
        "patients": [{"id": each, "clinical_data": {"größe": 1.5, "of": each}} for each in patients],
    }


def new_execution(schema: dict[str, Any], **changes: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What an execution of a schema needs, and its files."""
    takes, makes = schema["input_elements"], schema["output_elements"]
    files = {}
    inputs: dict[str, Any] = {}
    federated = takes["federated_learning_configuration"]
    if takes["platform_data"]:
        names = PARTNERS[:2] if federated else PARTNERS[:1]
        inputs["platform_data"] = {"data_partners_patients": {name: partner(f"{name} p", "p-2") for name in names}}
    if federated:
        inputs["federated_learning_configuration"] = {"number_iterations": 2}
    for part in ("external_data", "report_metadata"):
        if takes.get(part):
            files[part] = f"{part} of a patient".encode()
    engines = []
    for number, engine in enumerate(schema["ai_elements"]["ai_engines"]):
        files[f"{engine['descriptor']}_version_user_vars"] = b'{"epochs": 3}'
        given = {"descriptor": engine["descriptor"], "version": 4 + number}
        engines.append(given | ({"ai_model": 9} if engine["ai_model"] else {}))
    outputs = {"ai_model": {"name": "m", "description": "d"}} if makes["ai_model"] else {}
    data = {
        "schema": schema["name"],
        "input_elements": inputs,
        "ai_elements": {"ai_engines": engines},
        "output_elements": outputs,
        **{name: value for name, value in changes.items() if name != "files"},
    }
    return data, {**files, **changes.get("files", {})}


@contextmanager
def served(postgres: Postgres, folder: Path, media: Path | None = None, **settings: str) -> Iterator[Portal]:
    """Serve executions from a database of their own, and connect to them.

    Args:
        postgres: makes the database.
        folder: for logs, and for the files of executions where those have none.
        media: for these.
        settings: more of the server, under their own names.
    """
    media = media or folder / "media"
    database = postgres.create_database(f"executions_{uuid.uuid4().hex}")
    host = f"127.0.0.1:{free_port()}"
    given = {
        "ORCHESTRATOR_HTTP_ADDRESS": host,
        "ORCHESTRATOR_API_IDENTITY": "open",
        "ORCHESTRATOR_API_ORGANIZATION": "central",
        "ORCHESTRATOR_API_CHANNEL": "project",
        "MEDIA_ROOT": str(media),
        **settings,
    }
    with (
        serving(folder, database, {"project": ["central"]}, given) as address,
        httpx.Client(base_url=f"http://{host}", timeout=60) as http,
    ):
        yield Portal(http, media, host, address, database)
