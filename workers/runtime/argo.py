"""Argo Workflows, behind its server's REST API."""

import json
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import structlog
from pydantic import AliasChoices, AliasGenerator, Field, FilePath, NonNegativeInt, PositiveFloat, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.telemetry import names, spans
from workers.runtime.errors import ExistsError, RefusedError, UnreachableError
from workers.runtime.workflows import LABEL, Workflow

log = structlog.get_logger()

_LARGEST_ANSWER = 64 * 1024 * 1024
_PAGE = 500
_LONGEST_MESSAGE = 2000
# The whole of a workflow may be a megabyte; these are all that is read of it.
_FIELDS = "metadata.continue,items.metadata.name,items.metadata.labels,items.status.phase,items.status.message"
_LATER = (408, 425, 429)
"""Refusals that say: not now."""


def _names(name: str) -> AliasChoices:
    return AliasChoices(f"ORCHESTRATOR_{name.upper()}", name.upper())


class ArgoSettings(BaseSettings):
    """Where the server of Argo Workflows is, and how it is spoken to."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        alias_generator=AliasGenerator(validation_alias=_names),
    )

    argo_workflows_api_host: str = Field(
        "https://localhost:2746",
        pattern=r"^https?://[^/\s]+(/[^?#\s]*)?$",
        description="the URL of Argo's server",
    )
    argo_workflows_namespace: str = Field(
        "incisive-dev", min_length=1, description="the namespace in which workflows run"
    )
    argo_workflows_token: SecretStr | None = Field(None, description="the bearer token that Argo's server asks for")
    argo_workflows_token_file: FilePath | None = Field(
        None, description="a file with the token, which is read again for each request, as one that Kubernetes renews"
    )
    argo_workflows_ca_cert: FilePath | None = Field(
        None, description="a file with the CA certificates of Argo's server; without it those of the system count"
    )
    argo_workflows_verify: bool = Field(
        True, description="false speaks to whoever answers, and shows them the token: for tests alone"
    )
    argo_workflows_timeout: PositiveFloat = Field(10.0, description="seconds that Argo's server may take to answer")
    argo_workflows_retries: NonNegativeInt = Field(
        2, description="how often a connection that cannot be opened is tried again at once, with a growing pause"
    )


class Argo:
    """Starts and ends workflows of one namespace.

    Args:
        settings: where, and how.

    Raises:
        OSError: the file of CA certificates cannot be used.
    """

    def __init__(self, settings: ArgoSettings) -> None:
        self._settings = settings
        self._host = settings.argo_workflows_api_host.rstrip("/")
        self._path = f"/api/v1/workflows/{quote(settings.argo_workflows_namespace, safe='')}"
        # It opens connections again, and sends nothing twice: a workflow could be created twice.
        transport = httpx.HTTPTransport(verify=_trust(settings), retries=settings.argo_workflows_retries)
        self._client = httpx.Client(
            transport=transport, timeout=settings.argo_workflows_timeout, headers={"Accept": "application/json"}
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def create(self, manifest: Mapping[str, Any]) -> str:
        """Start a workflow, and return its name.

        Raises:
            RefusedError: Argo does not take this manifest.
            ExistsError: there is a workflow of its name.
            UnreachableError: it is not known whether it runs: look for its label before another is created.
        """
        created = self._ask("POST", self._path, content=json.dumps({"workflow": manifest}, ensure_ascii=False))
        name = _of(created, "metadata").get("name")
        if not isinstance(name, str) or not name:
            raise UnreachableError(f"{self._who} has answered a new workflow without its name")
        return name

    def find(self, label: str | None = None) -> Sequence[Workflow]:
        """Return the workflows whose label `LABEL` has a value; those that have any, where none is given.

        Raises:
            RefusedError: Argo does not let them be listed.
            UnreachableError: nothing is known.
        """
        selector = LABEL if label is None else f"{LABEL}={label}"
        found: list[Workflow] = []
        query = {"listOptions.labelSelector": selector, "listOptions.limit": str(_PAGE), "fields": _FIELDS}
        while True:
            page = self._ask("GET", self._path, params=query)
            # Argo says null where there are none.
            found += [self._workflow(each) for each in page.get("items") or ()]
            following = _of(page, "metadata").get("continue")
            if not following:
                return found
            query["listOptions.continue"] = str(following)

    def end(self, name: str) -> None:
        """End a workflow and remove it; one that is not there is as good.

        Raises:
            RefusedError: Argo does not let it be ended.
            UnreachableError: it is not known whether it has ended.
        """
        self._ask("DELETE", f"{self._path}/{quote(name, safe='')}", absent_is_fine=True)

    @property
    def _who(self) -> str:
        return f"Argo at {self._host}"

    def _workflow(self, shown: Any) -> Workflow:
        metadata, status = _of(shown, "metadata"), _of(shown, "status")
        name = metadata.get("name")
        if not isinstance(name, str) or not name:
            raise UnreachableError(f"{self._who} lists a workflow without a name")
        return Workflow(
            name=name,
            label=str(_of(metadata, "labels").get(LABEL, "")),
            phase=str(status.get("phase") or ""),
            message=str(status.get("message") or ""),
        )

    def _ask(self, method: str, path: str, *, absent_is_fine: bool = False, **request: Any) -> Mapping[str, Any]:
        token = self._token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if "content" in request:
            headers["Content-Type"] = "application/json"
        deadline = time.monotonic() + self._settings.argo_workflows_timeout
        try:
            with (
                spans.calling(method, names.request(method, self._host), headers) as span,
                self._client.stream(method, f"{self._host}{path}", headers=headers, **request) as answer,
            ):
                span.note(names.HTTP_STATUS, answer.status_code)
                if answer.is_error:
                    span.fail(str(answer.status_code))
                body = _body(answer, deadline)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(f"{self._who} cannot be reached: {reason}") from error
        if absent_is_fine and answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        if not answer.is_success:
            words = _words(body)
            # Whoever answers may repeat what it was sent, and this is kept with the execution.
            words = words.replace(token, "…") if token else words
            text = f"{self._who} answered {answer.status_code}{f': {words}' if words else ''}"
            if method == "POST" and answer.status_code == httpx.codes.CONFLICT:
                raise ExistsError(text)
            is_final = answer.is_client_error and answer.status_code not in _LATER
            raise RefusedError(text) if is_final else UnreachableError(text)
        try:
            read = json.loads(body)
        except ValueError as error:
            raise UnreachableError(f"{self._who} answered no JSON: is it Argo's server?") from error
        if not isinstance(read, dict):
            raise UnreachableError(f"{self._who} answered no object: is it Argo's server?")
        return read

    def _token(self) -> str:
        settings = self._settings
        token = settings.argo_workflows_token.get_secret_value() if settings.argo_workflows_token else ""
        if settings.argo_workflows_token_file:
            try:
                token = settings.argo_workflows_token_file.read_text(encoding="ascii")
            except (OSError, ValueError) as error:
                raise UnreachableError(f"the token for {self._who} cannot be read: {error}") from error
        # Argo's own command prints it with the word before it.
        return token.strip().removeprefix("Bearer ")


def _trust(settings: ArgoSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.argo_workflows_ca_cert)
    if not settings.argo_workflows_verify:
        log.warning("argo.unverified", host=settings.argo_workflows_api_host, hint="set ARGO_WORKFLOWS_CA_CERT instead")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _body(answer: httpx.Response, deadline: float) -> bytes:
    """Read an answer, which may come slowly and be long, until a moment of the monotonic clock."""
    read = bytearray()
    for chunk in answer.iter_bytes():
        read += chunk
        if len(read) > _LARGEST_ANSWER:
            raise httpx.ReadError("its answer is too long")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("its answer takes too long")
    return bytes(read)


def _of(shown: Any, name: str) -> Mapping[str, Any]:
    found = shown.get(name) if isinstance(shown, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _words(body: bytes) -> str:
    """Return what a refusal says."""
    text = body.decode(errors="replace").strip()
    try:
        read = json.loads(text)
    except ValueError:
        read = None
    if isinstance(read, dict) and isinstance(read.get("message"), str):
        text = read["message"]
    return " ".join(text.split())[:_LONGEST_MESSAGE]
