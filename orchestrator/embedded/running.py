"""What a federation that runs on this machine tells other commands, through a file in its folder."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.client import Certificates, Client
from orchestrator.embedded.certificates import Layout
from orchestrator.files import whole

FILE = "federation.json"

_CLOCK_STEP_SECONDS = 2.0


@dataclass(frozen=True)
class Running:
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
        folder: its data folder. By default what the variable ORCHESTRATOR_DATA says, or `.orchestrator` in the current
            folder or one that this lies in.

    Raises:
        RuntimeError: none runs there.
        ValueError: the file there is not ours.
        OSError: it cannot be read.
    """
    asked = folder or os.environ.get("ORCHESTRATOR_DATA")
    found = read(Path(asked)) if asked else nearest()
    if found is None:
        where = asked or f"{Path.cwd()} or above it"
        raise RuntimeError(f"no federation runs in {where}: start one with `orchestrator up`")
    return found


def nearest() -> Running | None:
    """Return the federation that runs in `.orchestrator` in the current folder, or in the nearest that this lies in.

    Raises:
        ValueError: the file there is not ours.
        OSError: it cannot be read.
    """
    now = Path.cwd()
    return next(filter(None, (read(place / ".orchestrator") for place in (now, *now.parents))), None)


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
