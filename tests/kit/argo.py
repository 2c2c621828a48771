"""A server that speaks as Argo's does: it keeps workflows and runs none, and can be as unpleasant as a real one."""

import json
import secrets
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from orchestrator.embedded.ports import HOST, free_port

NAMESPACE = "incisive-dev"
HANG_SECONDS = 60


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes


@dataclass
class Refusal:
    """What requests are answered with.

    Args:
        status: of HTTP.
        message: its words.
        methods: of the requests that are refused.
    """

    status: int
    message: str
    methods: tuple[str, ...] = ("POST", "GET", "DELETE")


@dataclass
class FakeArgo:
    """The server, on loopback; its workflows outlive its `stop`.

    Args:
        certificate: with its key, for https.
        token: that requests must bear; empty for none.
        page: most workflows of a list.
        port: where it listens.

    Attributes:
        asked: all requests, in the order in which they came.
        workflows: name -> what was created.
        refusal: of what comes now; None lets it in.
        lost_answers: how many more answers of a creation are lost, with the workflow kept.
        released: while it is not set, requests hang before anything is done.
    """

    certificate: tuple[Path, Path] | None = None
    token: str = ""
    page: int = 1000
    port: int = field(default_factory=free_port)
    asked: list[Asked] = field(default_factory=list)
    workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusal: Refusal | None = None
    lost_answers: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.released.set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{HOST}:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What `orchestrator runtime` must be told of it."""
        return {"ARGO_WORKFLOWS_API_HOST": self.url, "ARGO_WORKFLOWS_NAMESPACE": NAMESPACE}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, at the same address each time."""
        self._server = ThreadingHTTPServer((HOST, self.port), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            # Whoever does not like the certificate says so in the thread of its connection.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="argo")
        self._thread.start()

    def stop(self) -> None:
        """Go away; connections that stand break off."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def created(self) -> list[Asked]:
        """The requests that would create workflows."""
        return [each for each in self.asked if each.method == "POST"]

    def end(self, name: str, phase: str, message: str = "") -> None:
        """Let a workflow end, as with the phase Succeeded, Failed or Error."""
        finished = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._lock:
            self.workflows[name]["status"] = {"phase": phase, "finishedAt": finished, "message": message}

    def forget(self, name: str) -> None:
        """Let a workflow vanish, as one whose time to live is over."""
        with self._lock:
            del self.workflows[name]

    def answer(self, asked: Asked) -> tuple[int, Any] | None:
        """Return the status and the body that a request is answered with; None loses the answer."""
        self.asked.append(asked)
        self.released.wait(HANG_SECONDS)
        if self.refusal and asked.method in self.refusal.methods:
            return self.refusal.status, {"code": 7, "message": self.refusal.message}
        if self.token and asked.headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"code": 16, "message": "token not valid for running mode"}
        prefix = f"/api/v1/workflows/{NAMESPACE}"
        if asked.path == prefix and asked.method == "POST":
            return self._create(asked.body)
        if asked.path == prefix and asked.method == "GET":
            return 200, self._list(asked.query)
        if asked.path.startswith(f"{prefix}/") and asked.method == "DELETE":
            return self._delete(unquote(asked.path.removeprefix(f"{prefix}/")))
        return 404, {"code": 5, "message": "Not Found"}

    def _create(self, body: bytes) -> tuple[int, Any] | None:
        try:
            workflow = json.loads(body)["workflow"]
            parameters = ((workflow["spec"].get("arguments") or {}).get("parameters")) or []
            if not all(isinstance(each["name"], str) and isinstance(each["value"], str) for each in parameters):
                raise ValueError("a parameter is no text")
            assert set(json.loads(body)) == {"workflow"}, "other keys"
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            return 400, {"code": 3, "message": f"cannot unmarshal: {error!r}"}
        metadata = workflow.setdefault("metadata", {})
        with self._lock:
            name = metadata.get("name") or f"{metadata.get('generateName', '')}{secrets.token_hex(3)}"
            if name in self.workflows:
                return 409, {"code": 6, "message": f'workflows.argoproj.io "{name}" already exists'}
            metadata.update(name=name, namespace=NAMESPACE, uid=secrets.token_hex(8))
            workflow["status"] = {}
            self.workflows[name] = workflow
            if self.lost_answers:
                self.lost_answers -= 1
                return None
        return 200, workflow

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        name, _, value = query.get("listOptions.labelSelector", "").partition("=")
        first = int(query.get("listOptions.continue", "0"))
        size = min(int(query.get("listOptions.limit", "1000")), self.page)
        with self._lock:
            found = [
                {"metadata": each["metadata"], "status": {"finishedAt": None, **each["status"]}}
                for each in self.workflows.values()
                if not name or (given := each["metadata"].get("labels", {}).get(name)) == value or (given and not value)
            ]
        more = {"continue": str(first + size)} if first + size < len(found) else {}
        return {"metadata": more, "items": found[first : first + size] or None}

    def _delete(self, name: str) -> tuple[int, Any]:
        with self._lock:
            if self.workflows.pop(name, None) is None:
                return 404, {"code": 5, "message": f'workflows.argoproj.io "{name}" not found'}
        return 200, {}


def _handler(argo: FakeArgo) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = HANG_SECONDS

        def handle(self) -> None:
            # Who hangs up, or does not trust the certificate, is no fault of the server's.
            with suppress(OSError):
                super().handle()

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answered = argo.answer(Asked(self.command, parts.path, query, self.headers, body))
            if answered is None:
                self.close_connection = True
                return
            status, document = answered
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the server looks for these names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
