"""The orchestrator's HTTP of problems, as a front end calls it."""

import json
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from orchestrator_modules.kinds import KINDS
from orchestrator_modules.types import TYPES, Message, UserInput

_DEFAULT = "http://127.0.0.1:5001"
_SECONDS = 60.0
# The service says something every fifteen.
_SILENCE_SECONDS = 45.0
_FILES = ("CA_CERT", "CERT", "KEY")
_OUTPUT = {kind.name: kind.output for kind in KINDS}


class ServiceError(RuntimeError):
    """The orchestrator refused a call, or does not answer; the message is for people.

    Args:
        message: what happened.
        status: of HTTP; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Service:
    """Calls it; good in any thread.

    It is where ORCHESTRATOR_PROBLEMS_URL says, or else where the federation is that runs here, or else on port 5001:
    there may be none yet, or another one later. Files of certificates are read again when they change.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._place: tuple[object, ...] = ()
        self._made: httpx.Client | None = None

    @property
    def root(self) -> str:
        """Where it is now, without a slash at the end."""
        return (os.environ.get("ORCHESTRATOR_PROBLEMS_URL") or _here() or _DEFAULT).rstrip("/")

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._made is not None:
                self._made.close()

    def _client(self) -> httpx.Client:
        """Return what reaches it now.

        Raises:
            ServiceError: a file of certificates cannot be used.
        """
        root, files = self.root, [os.environ.get(f"ORCHESTRATOR_CLIENT_{name}") for name in _FILES]
        token = os.environ.get("ORCHESTRATOR_TOKEN")
        with self._lock:
            try:
                place = (root, token, *((each, Path(each).stat().st_mtime_ns) for each in files if each))
                if self._made is None or place != self._place:
                    # Who speaks by the one before may end.
                    self._made = httpx.Client(
                        base_url=root,
                        headers={"Authorization": f"Bearer {token}"} if token else {},
                        verify=_trust(*files) if root.startswith("https:") else True,
                        timeout=_SECONDS,
                        trust_env=False,
                    )
                    self._place = place
            except OSError as error:
                raise ServiceError(f"the certificates of ORCHESTRATOR_CLIENT_… cannot be used: {error}") from error
            return self._made

    def call(self, method: str, path: str, document: Any = None, timeout: float = _SECONDS) -> Any:
        """Send a request, and return the document that is answered.

        Raises:
            ServiceError: it is refused, or nothing answers.
        """
        try:
            answer = self._client().request(method, path, json=document, timeout=timeout)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ServiceError(f"{method} {self.root}{path}: {error or type(error).__name__}") from error
        if answer.is_error:
            words = body.get("error") if isinstance(body, dict) else body
            raise ServiceError(str(words), answer.status_code)
        return body

    def raw_model(self, problem: int, iteration: int) -> bytes:
        """Return the bytes of a model; none where it has none.

        Raises:
            ServiceError: nothing answers.
        """
        try:
            answer = self._client().get(f"/api/problems/{problem}/iterations/{iteration}/raw_model")
        except httpx.HTTPError as error:
            raise ServiceError(str(error) or type(error).__name__) from error
        return answer.content if answer.is_success else b""

    def events(self, after: str | None) -> Iterator[tuple[str, str, Any]]:
        """Yield id, type and data of events, until the connection ends; first, once it stands, an empty one.

        Args:
            after: the id of the last that was had; None begins now.

        Raises:
            ServiceError: nothing answers, or no more.
        """
        headers = {} if after is None else {"Last-Event-ID": after}
        timeout = httpx.Timeout(_SECONDS, read=_SILENCE_SECONDS)
        try:
            with self._client().stream("GET", "/api/events", headers=headers, timeout=timeout) as answer:
                if answer.is_error:
                    raise ServiceError(f"GET {self.root}/api/events: {answer.status_code}", answer.status_code)
                yield "", "", None
                said: dict[str, str] = {}
                for line in answer.iter_lines():
                    name, _, value = line.partition(": ")
                    if line:
                        said[name] = value
                    elif "event" in said:
                        yield said.get("id", ""), said["event"], json.loads(said.get("data", "null"))
                        said = {}
        except httpx.HTTPError as error:
            raise ServiceError(str(error) or type(error).__name__) from error


def document_of(user_input: Any) -> dict[str, Any]:
    """Return a user's input as HTTP has it.

    Raises:
        ServiceError: its extra data are no JSON object.
    """
    members: dict[str, Any] = user_input.members()
    given = members.pop("extra_data")
    del members["task_id"]
    if given:
        try:
            members["extra_data"] = json.loads(given)
        except ValueError:
            members["extra_data"] = None
        if not isinstance(members["extra_data"], dict):
            raise ServiceError("the extra data of this input are no JSON object")
    return members


def message_of(kind: str, shown: dict[str, Any]) -> Message:
    """Return what HTTP shows of an output; numbers that JSON lacks are NaN.

    Args:
        kind: of the stage; another for a user's input.
        shown: with lists as lists.
    """
    cls = TYPES[_OUTPUT[kind]] if kind in _OUTPUT else UserInput
    named = {"ml_model_metadata" if name == "metadata" else name: value for name, value in shown.items()}
    members: dict[str, Any] = {}
    for name, of in cls.MEMBERS.items():
        value = named.get(name)
        if of.name == "task_id" and value is not None:
            members[name] = (value["problem_id"], value["iteration_id"])
        elif name == "extra_data":
            members[name] = b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
        elif of.name == "f64" and name in named:
            members[name] = float("nan") if value is None else value
        elif value is not None:
            members[name] = value
    return cls.of(members)


def _here() -> str:
    # Not in the process of every module: gRPC comes with it.
    from orchestrator.embedded import running

    try:
        return str(running.here().problems.get("address", ""))
    except (OSError, ValueError, running.NowhereError):
        return ""


def _trust(authority: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    if certificate and key:
        context.load_cert_chain(certificate, key)
    return context
