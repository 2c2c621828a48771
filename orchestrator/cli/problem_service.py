"""The HTTP service of problems and modules, as its commands call it."""

import shlex
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.cli.connected import Connected
from orchestrator.cli.errors import UsageFault
from orchestrator.cli.http_service import FILE, HttpService

if TYPE_CHECKING:
    from orchestrator.embedded.running import Running

_SECONDS = 60.0
_PAGE = 500
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")


@dataclass(frozen=True)
class ProblemService(HttpService):
    """What the command line and the environment say; see the options."""

    cert: Path | None
    key: Path | None

    variable = "ORCHESTRATOR_PROBLEMS_URL"
    default = "http://127.0.0.1:5001"
    up = "orchestrator up --problems"

    @classmethod
    def options(cls, command: Callable[..., Any]) -> Callable[..., Any]:
        """Give a group of commands the options that one is made of."""
        for option in (
            click.option(
                "--key",
                type=FILE,
                envvar="ORCHESTRATOR_CLIENT_KEY",
                show_envvar=True,
                help="The key of your certificate.",
            ),
            click.option(
                "--cert",
                type=FILE,
                envvar="ORCHESTRATOR_CLIENT_CERT",
                show_envvar=True,
                help="Your certificate, where the service asks for one; needs --key.",
            ),
        ):
            command = option(command)
        return super().options(command)

    def served_by(self, federation: "Running") -> str | None:
        """Return where a federation serves problems, None where it does not."""
        return federation.problems.get("address")

    def refusal(self, body: Any) -> str:
        """Return what the body of a refusal says."""
        return str(body["error"]) if isinstance(body, dict) and "error" in body else ""

    def trust(self) -> ssl.SSLContext:
        """Return whom one trusts, and who one is."""
        context = super().trust()
        if self.cert:
            try:
                context.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError) as error:
                raise UsageFault(f"--cert or --key cannot be used: {error}") from error
        return context

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
        with self.reached() as client:
            answer = client.request(
                method,
                f"{self.root}{path}",
                json=document,
                params={name: value for name, value in query.items() if value is not None} or None,
                headers=headers,
                timeout=seconds,
            )
        return self.read(answer)

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
            self.reached() as client,
            client.stream("GET", url, params=query, headers=headers, timeout=seconds) as answer,
        ):
            if not answer.is_success:
                answer.read()
                self.read(answer)
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
