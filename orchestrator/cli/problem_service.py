"""The HTTP service of problems and modules, as its commands call it."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.cli.connected import Connected
from orchestrator.cli.http_service import HttpService

if TYPE_CHECKING:
    from orchestrator.embedded.running import Running

_SECONDS = 60.0
_PAGE = 500
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")


@dataclass(frozen=True)
class ProblemService(HttpService):
    """What the command line and the environment say; see the options."""

    variable = "ORCHESTRATOR_PROBLEMS_URL"
    default = "http://127.0.0.1:5001"
    up = "orchestrator up --problems"

    def served_by(self, federation: "Running") -> str | None:
        """Return where a federation serves problems, None where it does not."""
        return federation.problems.get("address")

    def refusal(self, body: Any) -> str:
        """Return what the body of a refusal says."""
        return str(body["error"]) if isinstance(body, dict) and "error" in body else ""

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
