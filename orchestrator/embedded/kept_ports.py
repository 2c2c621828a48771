"""The ports of a federation: those of the last time, since bookmarks, scripts and the addresses of assets name them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.embedded.ports import free_port
from orchestrator.embedded.processes import ProcessError
from orchestrator.files import whole

SERVICES = ("grpc", "http", "flower")
"""In the order in which a range of ports is given to them, before the asset stores."""


class KeptPorts:
    """The ports that a federation used, in a file of its data.

    Args:
        file: made at the first start.
        first: of the range that is wanted, None for any ports at the first start and the same ones later.
        tell: called with a line where a port cannot be kept.
    """

    def __init__(self, file: Path, first: int | None, tell: Callable[[str], None]) -> None:
        self._file = file
        self._first = first
        self._tell = tell
        # No organization is called so: its name is that of a folder.
        self._known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}

    def service(self, name: str) -> int:
        """Return the port of a server of the orchestrator, or of its own database or broker.

        Raises:
            ProcessError: another program has taken the one that is wanted.
        """
        wanted = None
        if self._first is not None and name in SERVICES:
            wanted = self._first + SERVICES.index(name)
        known = self._known.get(f"/{name}")
        port = free_port(wanted or known)
        if wanted and port != wanted:
            raise ProcessError(f"port {wanted} is taken by another program: end that, or give another --port")
        if known and port != known and not wanted:
            self._tell(f"Port {known}, where {name} was, is taken by another program: it is at {port} now")
        self._known[f"/{name}"] = port
        return port

    def stores(self, organizations: Sequence[str]) -> dict[str, int]:
        """Return the ports of asset stores; those that were registered stay, whatever range is wanted.

        Raises:
            ProcessError: another program has taken one.
        """
        ports = {}
        for number, organization in enumerate(organizations):
            known = self._known.get(organization)
            ranged = None if self._first is None else self._first + len(SERVICES) + number
            ports[organization] = port = free_port(known or ranged)
            if known and port != known:
                raise ProcessError(
                    f"port {known}, where the assets of {organization} have their addresses, is taken "
                    "by another program; end that, or begin anew after `orchestrator down --destroy`"
                )
            if ranged and not known and port != ranged:
                raise ProcessError(f"port {ranged} is taken by another program: end that, or give another --port")
        self._known |= ports
        return ports

    def keep(self) -> None:
        """Write them down for the next time.

        Raises:
            OSError: the file cannot be written.
        """
        whole.write(self._file, json.dumps(self._known).encode())
