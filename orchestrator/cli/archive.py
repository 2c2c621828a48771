"""A function's archive, for people to read before they let it run."""

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from orchestrator import protos as pb
from orchestrator.cli import download
from orchestrator.cli.errors import Fault, UsageFault
from orchestrator.client import Client
from orchestrator.client.printing import printable
from workers.assets import addresses
from workers.assets.peers import Peers
from workers.errors import BuildFault
from workers.executors.executor import GIB
from workers.functions.archive import unpack

_LONGEST_TEXT = 256 * 1024
_LOOKED_AT = 8192


@dataclass(frozen=True)
class File:
    """A file of an archive.

    Args:
        name: its path in the archive.
        size: bytes.
        kind: `text`, `binary`, or either with `executable` before it.
    """

    name: str
    size: int
    kind: str

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def check_address(client: Client, function: pb.Function, stores: Mapping[str, str]) -> None:
    """Check that a function's archive is registered where a worker would fetch it.

    Args:
        client: of an organization of its channel.
        function: as the orchestrator knows it.
        stores: organization -> URL of its asset store, as the consent policy names it.

    Raises:
        Fault: it is registered elsewhere, or nobody says where its owner's asset store is.
    """
    stated = stores.get(function.owner) or Peers(client).address(function.owner)
    try:
        here = addresses.archive(function).lies_in(addresses.check_store_url(stated))
    except ValueError:
        here = False
    if not here:
        raise Fault(
            printable(
                f"the archive of function {function.key} is registered at {function.archive.storage_address!r}, not "
                f"under its key in the asset store of {function.owner}, {stated or 'whose address nobody says'}: no "
                "worker fetches it"
            )
        )


@contextmanager
def opened(
    function: pb.Function, context: ssl.SSLContext, into: Path | None, proxy_from_environment: bool = False
) -> Iterator[Path]:
    """Give the folder with a function's files: fetched from its owner's store, verified, and safely unpacked.

    Args:
        function: as the orchestrator knows it.
        context: for mutual TLS with asset stores.
        into: a new folder that stays; by default one that goes with the block.
        proxy_from_environment: whether by the proxy that `https_proxy` and the like name.

    Raises:
        UsageFault: the folder is there already.
        RemoteFault: the archive cannot be had, or is not the registered one.
        Fault: it is unsafe or damaged.
    """
    with ExitStack() as held:
        packed = Path(held.enter_context(tempfile.TemporaryDirectory()))
        if into is not None:
            try:
                into.mkdir(parents=True)
            except FileExistsError as error:
                raise UsageFault(f"{into} is there already: name a new folder") from error
        folder = into or packed / "files"
        folder.mkdir(exist_ok=True)
        archive, what = packed / "archive", f"the archive of function {function.key}"
        with (
            download.fetch(function.archive, context, what, proxy_from_environment) as file,
            archive.open("wb") as copy,
        ):
            while chunk := file.read(1024 * 1024):
                copy.write(chunk)
        try:
            unpack(archive, folder, GIB)
        except BuildFault as fault:
            raise Fault(printable(str(fault))) from fault
        yield folder


def files(folder: Path) -> list[File]:
    """Return the files in a folder, by name."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            kind = "binary" if _text(path) is None else "text"
            executable = "executable " if os.access(path, os.X_OK) else ""
            found.append(File(str(path.relative_to(folder)), path.stat().st_size, f"{executable}{kind}"))
    return found


def print_texts(folder: Path) -> None:
    """Print what is text in a folder, the Dockerfile first, without what could steer a terminal."""
    paths = sorted(folder.rglob("*"), key=lambda path: (path != folder / "Dockerfile", path))
    for path in paths:
        text = _text(path) if path.is_file() else None
        if text is None:
            continue
        click.echo(f"\n--- {printable(str(path.relative_to(folder)))}")
        for line in text.splitlines():
            click.echo("\t".join(printable(part) for part in line.split("\t")))
        if path.stat().st_size > _LONGEST_TEXT:
            click.echo(f"--- cut after {_LONGEST_TEXT} bytes; --into DIR unpacks the whole file")
    sys.stdout.flush()


def _text(path: Path) -> str | None:
    """Return the beginning of a file that is text; None for one that is not."""
    with path.open("rb") as file:
        content = file.read(_LONGEST_TEXT)
    if b"\0" in content:
        return None
    try:
        content[:_LOOKED_AT].decode()
    except UnicodeDecodeError as error:
        # A letter may be cut in two.
        if error.start < len(content[:_LOOKED_AT]) - 3:
            return None
    return content.decode(errors="replace")
