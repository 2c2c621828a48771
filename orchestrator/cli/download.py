"""Downloads a file from an organization's asset store, and checks that it is the registered one."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

import httpx

from orchestrator import protos as pb
from orchestrator.cli.errors import RemoteFault
from orchestrator.client import StoreError, transfers
from orchestrator.client.printing import printable

_CHUNK = 256 * 1024
_IN_MEMORY = 16 * 1024 * 1024
_LARGEST = 1024**3
_TIMEOUT = 30.0


@contextmanager
def fetch(
    address: pb.Addressable, context: ssl.SSLContext, what: str, proxy_from_environment: bool = False
) -> Iterator[IO[bytes]]:
    """Give a file, open for reading at its beginning.

    Args:
        address: its URL and SHA-256.
        context: for mutual TLS with asset stores.
        what: the file for people, as in `the log of task 1f0c…`.
        proxy_from_environment: whether by the proxy that `https_proxy` and the like name.

    Raises:
        RemoteFault: it cannot be had, is too large, or is not the registered one.
    """
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        try:
            # Whom we trust is said by `verify`; of the environment nothing but a proxy is taken, where that is wanted.
            with httpx.Client(verify=context, trust_env=proxy_from_environment, timeout=_TIMEOUT) as client:
                transfers.fetch(client, address, what, file, _LARGEST)
        except StoreError as error:
            raise RemoteFault(str(error)) from error
        file.seek(0)
        yield file


def write(file: IO[bytes], output: IO[bytes], raw: bool) -> None:
    """Write a file out, without what could steer a terminal: what goes into a pipe often ends in one.

    Args:
        file: open for reading.
        output: where to.
        raw: each byte as it is.
    """
    # Not whole lines: one may be as long as the file. A letter that is cut in two becomes two replacement characters.
    for line in iter(lambda: file.readline(_CHUNK), b""):
        if not raw:
            text = line.decode(errors="replace").rstrip("\r\n")
            end = b"\n" if line.endswith(b"\n") else b""
            line = "\t".join(printable(part) for part in text.split("\t")).encode() + end
        output.write(line)
    output.flush()
