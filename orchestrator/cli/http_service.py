"""An HTTP service of one product, as its commands call it: where it is, and what its answers mean."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
import httpx

from orchestrator.cli import https
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault

if TYPE_CHECKING:
    from orchestrator.embedded.running import Running

# What says nothing of the request: who asks, too often, or a fault of the service's.
_NOT_OF_THE_REQUEST = (401, 403, 429, 500, 503)


@dataclass(frozen=True)
class HttpService(ABC):
    """What the command line and the environment say of a service; see `options`."""

    url: str | None
    token: str | None
    ca_cert: Path | None
    cert: Path | None
    key: Path | None

    variable: ClassVar[str]
    """What says where it is."""
    default: ClassVar[str]
    """Where it is where nothing says it, and no federation runs here."""
    up: ClassVar[str]
    """The command that runs one here."""

    @classmethod
    def options(cls, command: Callable[..., Any]) -> Callable[..., Any]:
        """Give a group of commands the options that one is made of."""
        for option in (
            *reversed(https.OPTIONS),
            click.option(
                "--url",
                envvar=cls.variable,
                show_envvar=True,
                metavar="URL",
                help=f"Where the service is; by default that of the federation that runs here, else {cls.default}.",
            ),
        ):
            command = option(command)
        return command

    @cached_property
    def root(self) -> str:
        """Where the service is, without a slash at the end.

        Raises:
            UsageFault: what is given is no URL of HTTP.
        """
        root = (self.url or self._running_here() or self.default).rstrip("/")
        if not root.startswith(("http://", "https://")):
            raise UsageFault(f"--url ({self.variable}): {root!r} is no URL, as in {self.default}")
        return root

    def _running_here(self) -> str | None:
        """Return where the federation serves that `orchestrator up` runs here, None where none does."""
        from orchestrator.embedded import running

        try:
            return self.served_by(running.here())
        except (running.NowhereError, ValueError, OSError):
            return None

    @abstractmethod
    def served_by(self, federation: "Running") -> str | None:
        """Return where a federation serves, None where it does not."""

    @abstractmethod
    def refusal(self, body: Any) -> str:
        """Return what the body of a refusal says, for people; empty where it says nothing."""

    @contextmanager
    def reached(self) -> Iterator[httpx.Client]:
        """Open a connection to the service.

        Raises:
            RemoteFault: it cannot be reached.
            UsageFault: a file cannot be used, or where the service is to be is no URL.
        """
        verify = https.trust(self.root, self.ca_cert, self.cert, self.key)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with httpx.Client(headers=headers, verify=verify, trust_env=False) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteFault(
                f"the service at {self.root} cannot be reached: {str(error) or type(error).__name__}; --url "
                f"({self.variable}) says where it is, and `{self.up}` runs one here"
            ) from error

    def read(self, answer: httpx.Response) -> Any:
        """Return what was answered, as JSON has it; None for an empty answer.

        Raises:
            Fault: the request was refused for what it says.
            RemoteFault: it was refused for something else, or the answer is none of this service's.
        """
        try:
            body = answer.json() if answer.content else None
        except ValueError as error:
            raise RemoteFault(f"{self.root} answered {answer.status_code} in no JSON: is it this service?") from error
        if answer.is_success:
            return body
        words = self.refusal(body) or f"{answer.status_code}"
        if answer.status_code in _NOT_OF_THE_REQUEST:
            raise RemoteFault(f"the service at {self.root} answered {answer.status_code}: {words}")
        raise Fault(words)
