"""A federation that runs on this machine, as far as commands can tell."""

import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.running import Running, start_time


def runs_here(folder: Path, address: str, channel: str, layout: Layout, organizations: Sequence[str]) -> None:
    """Have commands find a server in a folder, where `orchestrator up` would have left it; this process runs it.

    Args:
        folder: made; consent policies lie in its `consent`.
        address: of the server.
        channel: of the organizations.
        layout: their certificates.
        organizations: who takes part; a command acts as the first where nothing speaks for another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "consent").mkdir(exist_ok=True)
    for organization in organizations:
        (folder / "consent" / f"{organization}.yaml").write_text("organizations: []\n")
    pid = os.getpid()
    Running(
        pid=pid,
        started=start_time(pid) or 0.0,
        address=address,
        http_address="",
        channel=channel,
        organizations=tuple(organizations),
        stores={},
        certificate_folder=layout.root,
        consent_folder=folder / "consent",
        flower="",
        logs=folder,
    ).write(folder)
