"""The REST service of schemas and executions, as its commands call it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.http_service import HttpService

if TYPE_CHECKING:
    from orchestrator.embedded.running import Running

_SECONDS = 60.0


@dataclass(frozen=True)
class Portal(HttpService):
    """What the command line and the environment say; see the options."""

    variable = "ORCHESTRATOR_EXECUTIONS_URL"
    default = "http://127.0.0.1:8080"
    up = "orchestrator up --executions"

    def served_by(self, federation: "Running") -> str | None:
        """Return where a federation serves."""
        return f"http://{federation.http_address}"

    def refusal(self, body: Any) -> str:
        """Return what the body of a refusal says."""
        return "; ".join(_problems(body))

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
        with ExitStack() as opened:
            parts: list[Any] = [] if data is None else [("data", (None, data))]
            parts += [(name, (file.name, opened.enter_context(file.open("rb")))) for name, file in files]
            client = opened.enter_context(self.reached())
            answer = client.request(
                method, f"{self.root}{path}", files=parts or None, params=query or None, timeout=_SECONDS
            )
        return self.read(answer)

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
