"""What a federation that runs on this machine tells other commands, through a file in its folder."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.client import Certificates, Client
from orchestrator.client.errors import ToldError
from orchestrator.client.shown import Shown
from orchestrator.embedded.certificates import Layout
from orchestrator.files import whole

FILE = "federation.json"

_CLOCK_STEP_SECONDS = 2.0


class NowhereError(ToldError, RuntimeError):
    """No federation runs where one was looked for.

    Args:
        place: where, for people.
    """

    def __init__(self, place: str) -> None:
        super().__init__(
            f"no federation runs in {place}: start one with `orchestrator up`, or say where one runs: "
            "running.here(FOLDER), or ORCHESTRATOR_DATA"
        )
        self.place = place


@dataclass(frozen=True, repr=False)
class Running(Shown):
    """A federation that is ready.

    Args:
        pid: id of the process that started it, and that ends it on SIGTERM.
        started: when that process started, in seconds since 1970: ids are used again.
        address: host:port of the orchestrator's gRPC server, which wants mutual TLS.
        http_address: host:port of its HTTP server.
        channel: the consortium.
        organizations: who takes part.
        stores: organization -> https URL of its asset store.
        certificate_folder: see `orchestrator.embedded.certificates.Layout`.
        consent_folder: with the consent policy of each organization, see `orchestrator.embedded.commands.policy_of`.
        flower: URL of Flower, with user and password: for the owner's terminal, never for a log; empty without it.
        logs: folder with a log for each process.
        broker_urls: file with the URLs of the broker's accounts.
        problems: the `organization` whose modules solve problems, and the `address` of their HTTP; none where no
            problems are served.
    """

    pid: int
    started: float
    address: str
    http_address: str
    channel: str
    organizations: tuple[str, ...]
    stores: Mapping[str, str]
    certificate_folder: Path
    consent_folder: Path
    flower: str
    logs: Path
    broker_urls: Path = Path()
    problems: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> Mapping[str, object]:
        """Return what is shown; not the password that is in the address of Flower."""
        return {
            "organizations": ", ".join(self.organizations),
            "channel": self.channel,
            "address": self.address,
            "health": f"http://{self.http_address}/health",
            "certificates": str(self.certificate_folder),
            "logs": str(self.logs),
        }

    def certificates(self, organization: str) -> Certificates:
        """Return the files with which an organization calls the orchestrator.

        Raises:
            ValueError: it is not one of the organizations.
        """
        if organization not in self.organizations:
            raise ValueError(
                f"organization {organization!r} is not in this federation; name one of {', '.join(self.organizations)}"
            )
        return Layout(self.certificate_folder).client(organization)

    def client(self, organization: str) -> Client:
        """Return a connection as one of the organizations, to be closed afterwards.

        Raises:
            ValueError: it is not one of them.
            OSError: its certificates cannot be read.
        """
        return Client(self.address, organization, self.channel, self.certificates(organization))

    @property
    def alive(self) -> bool:
        """Whether the process that started it still runs."""
        return is_alive(self.pid, self.started)

    def write(self, folder: Path) -> None:
        """Tell other commands; only our user may read it.

        Raises:
            OSError: the folder cannot be written.
        """
        whole.write(folder / FILE, json.dumps(asdict(self), default=str, indent=2).encode())


def read(folder: Path) -> Running | None:
    """Return the federation that runs in a folder and is ready, None if there is none.

    What a killed federation left behind does not count.

    Args:
        folder: the data folder, `.orchestrator` by default.

    Raises:
        ValueError: the file there is not ours.
        OSError: it cannot be read.
    """
    try:
        content = json.loads((folder / FILE).read_bytes())
        running = Running(
            **{
                **content,
                "organizations": tuple(content["organizations"]),
                "certificate_folder": Path(content["certificate_folder"]),
                "consent_folder": Path(content["consent_folder"]),
                "logs": Path(content["logs"]),
                "broker_urls": Path(content.get("broker_urls", "")),
            }
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / FILE} does not tell of a federation; remove it") from error
    return running if running.alive else None


def here(folder: Path | str | None = None) -> Running:
    """Return the federation that `orchestrator up` runs: in a folder, or else nearest to the current one.

    Args:
        folder: its data folder, `.orchestrator`, or the one that this lies in. By default what the variable
            ORCHESTRATOR_DATA says, or else the current folder or one that this lies in.

    Raises:
        NowhereError: none runs there; it is a RuntimeError.
        ValueError: the file there is not ours.
        OSError: it cannot be read.
    """
    asked = folder or os.environ.get("ORCHESTRATOR_DATA")
    now = Path.cwd()
    if asked:
        places = [Path(asked).expanduser(), Path(asked).expanduser() / ".orchestrator"]
    else:
        places = [now / ".orchestrator", *(filter(_ours, (above / ".orchestrator" for above in now.parents)))]
    for data in places:
        if found := read(data):
            return found
    raise NowhereError(str(asked) if asked else f"{now} or above it")


def _ours(data: Path) -> bool:
    """Return whether a folder is there and not another user's, who could lead us to another orchestrator."""
    try:
        return data.stat().st_uid == os.getuid()
    except OSError:
        return False


def start_time(pid: int) -> float | None:
    """Return when a process started, in seconds since 1970; None if there is no such process."""
    import psutil  # of the extra `embedded`; commands that only look whether a federation runs do without

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int, started: float) -> bool:
    """Tell whether a process runs, and is the one that started then."""
    now = start_time(pid)
    # The kernel counts from boot, so the clock's corrections shift what it says.
    return now is not None and abs(now - started) < _CLOCK_STEP_SECONDS
