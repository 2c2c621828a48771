"""The HTTP service of problems and modules, as its commands call it."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import httpx
from click.core import ParameterSource

from orchestrator.cli import https
from orchestrator.cli.connection import Connected
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault

_SECONDS = 60.0
_DEFAULT = "http://127.0.0.1:5001"
_PAGE = 500
_OPTIONS = (
    click.option(
        "--url",
        envvar="ORCHESTRATOR_PROBLEMS_URL",
        show_envvar=True,
        metavar="URL",
        help=f"Where the service is; by default that of the federation that runs here, else {_DEFAULT}.",
    ),
    *https.OPTIONS,
)

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a group of commands the options that `ProblemService` is made of."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class ProblemService:
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
            raise UsageFault(f"--url (ORCHESTRATOR_PROBLEMS_URL): {root!r} is no URL, as in {_DEFAULT}")
        return root

    def command(self, words: str) -> str:
        """Return a command line of ours, for people, that means the same service."""
        context = click.get_current_context()
        while context.parent is not None and not isinstance(context.command, Connected):
            context = context.parent
        group, _, rest = words.partition(" ")
        line = ["orchestrator", group]
        for option in context.command.params:
            name = str(option.name)
            if name != "token" and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                line += [option.opts[0], str(context.params[name])]
        return f"{shlex.join(line)} {rest}"

    def send(
        self,
        method: str,
        path: str,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
        **query: Any,
    ) -> Any:
        """Send a request, and return what is answered; None for an empty answer.

        Args:
            method: of HTTP.
            path: below the URL.
            document: of JSON; None sends none.
            headers: more of them.
            seconds: that the answer may take.
            query: parameters.

        Raises:
            Fault: it was refused for what it says.
            RemoteFault: there is no answer, or it is none of this service's.
            UsageFault: where the service is to be is no URL, or a certificate cannot be used.
        """
        with self._client() as client, self._reaching():
            answer = client.request(
                method,
                f"{self.root}{path}",
                json=document,
                params={name: value for name, value in query.items() if value is not None} or None,
                headers=headers,
                timeout=seconds,
            )
        return self._read(answer)

    def pages(self, path: str, rows: str, limit: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a list, in its order.

        Args:
            path: of the list.
            rows: what it calls them.
            limit: most of them; 0 for all.
        """
        after, left = None, limit
        while True:
            page = self.send("GET", path, limit=min(_PAGE, left or _PAGE), after=after)
            yield from page[rows]
            left -= len(page[rows])
            after = page["next"]
            if after is None or (limit and left <= 0):
                return

    def events(self, position: str | None, seconds: float, **query: Any) -> Iterator[tuple[str, str, str]]:
        """Yield events as id, type and data; it ends when the connection does.

        Args:
            position: of the last event that is known, None to begin now.
            seconds: without a sign of life, after which the connection counts as lost.
            query: filters.

        Raises:
            Fault: it was refused for what it says.
        """
        headers = {} if position is None else {"Last-Event-ID": position}
        url = f"{self.root}/api/events"
        with (
            self._client() as client,
            self._reaching(),
            client.stream("GET", url, params=query, headers=headers, timeout=seconds) as answer,
        ):
            if not answer.is_success:
                answer.read()
                self._read(answer)
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    event[name] = value
                elif "data" in event:
                    yield event.get("id", ""), event.get("event", ""), event["data"]
                    event = {}
                else:
                    # A comment.
                    yield "", "", ""

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteFault(
                f"the service at {self.root} cannot be reached: {str(error) or type(error).__name__}; --url "
                "(ORCHESTRATOR_PROBLEMS_URL) says where it is, and `orchestrator up --problems` runs one here"
            ) from error

    def _client(self) -> httpx.Client:
        verify = https.trust(self.root, self.ca_cert, self.cert, self.key)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(headers=headers, verify=verify, trust_env=False)

    def _read(self, answer: httpx.Response) -> Any:
        try:
            body = answer.json() if answer.content else None
        except ValueError as error:
            raise RemoteFault(f"{self.root} answered {answer.status_code} in no JSON: is it this service?") from error
        if answer.is_success:
            return body
        words = str(body["error"]) if isinstance(body, dict) and "error" in body else f"{answer.status_code}"
        if answer.status_code in (401, 403, 429, 500, 503):
            raise RemoteFault(f"the service at {self.root} answered {answer.status_code}: {words}")
        raise Fault(words)


def _running_here() -> str | None:
    """Return where the federation serves problems that `orchestrator up` runs here, None where none does."""
    from orchestrator.embedded import running

    try:
        return running.here().problems.get("address")
    except (running.NowhereError, ValueError, OSError):
        return None
