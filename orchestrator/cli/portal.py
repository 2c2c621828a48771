"""The REST service of schemas and executions, as its commands call it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import httpx

from orchestrator.cli import https
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault

_SECONDS = 60.0
_DEFAULT = "http://127.0.0.1:8080"
_OPTIONS = (
    click.option(
        "--url",
        envvar="ORCHESTRATOR_EXECUTIONS_URL",
        show_envvar=True,
        metavar="URL",
        help=f"Where the service is; by default that of the federation that runs here, else {_DEFAULT}.",
    ),
    *https.OPTIONS,
)


def portal_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a group of commands the options that `Portal` is made of."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Portal:
    """What the command line and the environment say; see the options."""

    url: str | None
    token: str | None
    ca_cert: Path | None
    cert: Path | None
    key: Path | None

    @cached_property
    def root(self) -> str:
        """Where the service is, without a slash at the end.

        Raises:
            UsageFault: what is given is no URL of HTTP.
        """
        root = (self.url or _running_here() or _DEFAULT).rstrip("/")
        if not root.startswith(("http://", "https://")):
            raise UsageFault(f"--url (ORCHESTRATOR_EXECUTIONS_URL): {root!r} is no URL, as in {_DEFAULT}")
        return root

    def send(
        self, method: str, path: str, data: bytes | None = None, files: Sequence[tuple[str, Path]] = (), **query: Any
    ) -> Any:
        """Send a request, and return what is answered; None for an empty answer.

        Args:
            method: of HTTP.
            path: below the URL.
            data: the JSON of the part `data`; None sends none.
            files: names of parts and their files.
            query: parameters.

        Raises:
            Fault: it was refused for what it says.
            RemoteFault: there is no answer, or it is none of this service's.
            UsageFault: where the service is to be is no URL, or a certificate cannot be used.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        verify = https.trust(self.root, self.ca_cert, self.cert, self.key)
        with ExitStack() as opened:
            parts: list[Any] = [] if data is None else [("data", (None, data))]
            parts += [(name, (file.name, opened.enter_context(file.open("rb")))) for name, file in files]
            try:
                answer = httpx.request(
                    method,
                    f"{self.root}{path}",
                    files=parts or None,
                    params=query or None,
                    headers=headers,
                    verify=verify,
                    timeout=_SECONDS,
                    trust_env=False,
                )
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise RemoteFault(
                    f"the service at {self.root} cannot be reached: {error}; "
                    "--url (ORCHESTRATOR_EXECUTIONS_URL) says where it is"
                ) from error
        return self._read(answer)

    def pages(self, path: str, limit: int, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a list, the newest first.

        Args:
            path: of the list.
            limit: most rows; 0 for all.
            query: more parameters.
        """
        number, left = 1, limit or None
        while True:
            size = 500 if left is None else min(500, limit)
            page = self.send("GET", path, page=number, page_size=size, **query)
            rows = page["results"] if left is None else page["results"][:left]
            yield from rows
            left = None if left is None else left - len(rows)
            if page["next"] is None or left == 0:
                return
            number += 1

    def _read(self, answer: httpx.Response) -> Any:
        try:
            body = answer.json() if answer.content else None
        except ValueError as error:
            raise RemoteFault(f"{self.root} answered {answer.status_code} in no JSON: is it this service?") from error
        if answer.is_success:
            return body
        words = "; ".join(_problems(body)) or f"{answer.status_code}"
        if answer.status_code in (401, 403, 503, 500):
            raise RemoteFault(f"the service at {self.root} answered {answer.status_code}: {words}")
        raise Fault(words)


def _running_here() -> str | None:
    """Return where the federation serves that `orchestrator up` runs here, None where none runs."""
    from orchestrator.embedded import running

    try:
        return f"http://{running.here().http_address}"
    except (running.NowhereError, ValueError, OSError):
        return None


def _problems(body: Any, place: str = "") -> Iterator[str]:
    """Yield what a refusal says, each with the place that it is about."""
    if isinstance(body, str):
        yield f"{place}: {body}" if place else body
    elif isinstance(body, list):
        texts = all(isinstance(each, str) for each in body)
        for number, each in enumerate(body):
            yield from _problems(each, place if texts else f"{place}.{number}")
    elif isinstance(body, dict):
        for name, each in body.items():
            hidden = name in ("non_field_errors", "detail")
            yield from _problems(each, place if hidden else f"{place}.{name}".lstrip("."))
