"""The files that prove who we are, and connections that follow them when they are renewed."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc

from orchestrator.core.key_pairs import check_pair, holds_certificates
from orchestrator.files.watched import Watched

_LOOK_SECONDS = 1.0

Transport = TypeVar("Transport")


@dataclass(frozen=True, init=False)
class Certificates:
    """The files that prove who we are, and whom we trust; a connection reads them again when they were renewed.

    Each is given as a path or as text, in which `~` is the user's home.

    Args:
        authority: PEM file with the CA certificates of the servers that we trust.
        certificate: PEM file with our certificate.
        key: PEM file with its private key.
        peers: PEM file with the CA certificates of all organizations' asset stores; who uploads or downloads needs it.

    Raises:
        ValueError: what is in a file is given in place of its name.
    """

    authority: Path
    certificate: Path
    key: Path
    peers: Path | None

    def __init__(
        self, authority: Path | str, certificate: Path | str, key: Path | str, peers: Path | str | None = None
    ) -> None:
        given = {"authority": authority, "certificate": certificate, "key": key, "peers": peers}
        for name, file in given.items():
            # What it says is not repeated: it may be the key.
            if file is not None and str(file).lstrip().startswith("-----BEGIN"):
                raise ValueError(f"{name} is given by the name of its file, not by what is in it")
            object.__setattr__(self, name, None if file is None else Path(file).expanduser())

    def check(self) -> None:
        """Find out whether each file is what it should be, and the key that of the certificate.

        Raises:
            OSError: one of them cannot be read.
            ValueError: one of them is something else; it is named.
        """
        trusted = {"of the servers that are trusted": self.authority, "of all asset stores": self.peers}
        for whose, file in trusted.items():
            if file is not None and not holds_certificates(file.read_bytes()):
                raise ValueError(f"{file} has no certificates in PEM: the CA certificates {whose} are expected there")
        certificate, key = self.certificate.read_bytes(), self.key.read_bytes()
        try:
            check_pair(certificate, key, "client's")
        except ValueError as error:
            raise ValueError(f"{self.certificate} and {self.key} are no certificate and its key: {error}") from error

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: one of them cannot be read.
        """
        return self._credentials(self.certificate.read_bytes(), self.key.read_bytes())

    def renewed(self) -> grpc.ChannelCredentials:
        """Read the files when they have changed.

        Raises:
            OSError: one of them cannot be read.
            ValueError: the key is not the certificate's: half of a renewal.
        """
        certificate, key = self.certificate.read_bytes(), self.key.read_bytes()
        check_pair(certificate, key, "client's")
        return self._credentials(certificate, key)

    def _credentials(self, certificate: bytes, key: bytes) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.authority.read_bytes(), key, certificate)


class RenewedCertificates(Certificates):
    """Those of a process that nobody starts again: it may begin in the middle of a renewal, and wait for the rest."""

    def check(self) -> None:
        """Find nothing: what does not fit yet is tried again at each call."""


class Renewal(Generic[Transport]):
    """The newest of several transports: a new one is made when the certificate files have changed.

    Calls that are under way keep the one that they began with: it is closed when the next but one is made.

    Args:
        certificates: the files.
        connect: makes a transport.
        close: closes one.

    Raises:
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        certificates: Certificates,
        connect: Callable[[grpc.ChannelCredentials], Transport],
        close: Callable[[Transport], None],
    ) -> None:
        files = (certificates.authority, certificates.certificate, certificates.key)
        self.transports: list[Transport] = []
        # What a process begins with need not fit: it would only end, and nobody starts it again when it does.
        self._watched = Watched(
            "client_certificate",
            lambda: files,
            lambda: certificates.renewed() if self.transports else certificates.credentials(),
        )
        self._connect = connect
        self._close = close
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        self._used = self._watched.value
        self.transports.append(connect(self._used))

    def current(self) -> Transport:
        """Return the transport for the next call."""
        with self._lock:
            if time.monotonic() - self._looked > _LOOK_SECONDS:
                self._looked = time.monotonic()
                credentials = self._watched.look()
                if credentials is not self._used:
                    self._used = credentials
                    self.transports.append(self._connect(credentials))
                    for old in self.transports[:-2]:
                        self._close(old)
                    del self.transports[:-2]
            return self.transports[-1]


class RenewedChannel(grpc.Channel):
    """A gRPC channel whose certificates are read again when they were renewed.

    Args:
        address: host:port.
        certificates: the files.
        options: of the channel.
    """

    def __init__(self, address: str, certificates: Certificates, options: Any) -> None:
        def connect(credentials: grpc.ChannelCredentials) -> grpc.Channel:
            return grpc.secure_channel(address, credentials, options)

        self._renewal: Renewal[grpc.Channel] = Renewal(certificates, connect, lambda channel: channel.close())

    def current(self) -> grpc.Channel:
        """Return the channel that the next call will take."""
        return self._renewal.current()

    # The interceptor asks for the method anew at each call.
    def unary_unary(self, *arguments: Any, **keywords: Any) -> Any:  # noqa: D102 - as grpc has it
        return self.current().unary_unary(*arguments, **keywords)

    def unary_stream(self, *arguments: Any, **keywords: Any) -> Any:  # noqa: D102
        return self.current().unary_stream(*arguments, **keywords)

    def stream_unary(self, *arguments: Any, **keywords: Any) -> Any:  # noqa: D102
        return self.current().stream_unary(*arguments, **keywords)

    def stream_stream(self, *arguments: Any, **keywords: Any) -> Any:  # noqa: D102
        return self.current().stream_stream(*arguments, **keywords)

    def subscribe(self, callback: Any, try_to_connect: Any = False) -> None:  # noqa: D102
        self.current().subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:  # noqa: D102
        for channel in self._renewal.transports:
            channel.unsubscribe(callback)

    def close(self) -> None:
        """Close them all."""
        for channel in self._renewal.transports:
            channel.close()

    def __enter__(self) -> "RenewedChannel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RenewedAsyncChannel:
    """`RenewedChannel` for asyncio.

    Args:
        connect: makes a channel of `grpc.aio`.
        certificates: the files.
    """

    def __init__(
        self, connect: Callable[[grpc.ChannelCredentials], grpc.aio.Channel], certificates: Certificates
    ) -> None:
        self._closing: set[asyncio.Task[None]] = set()
        self._renewal: Renewal[grpc.aio.Channel] = Renewal(certificates, connect, self._close)

    def current(self) -> grpc.aio.Channel:
        """Return the channel that the next call will take."""
        return self._renewal.current()

    def unary_unary(self, *arguments: Any, **keywords: Any) -> Any:
        """Return a method that is answered once."""
        return lambda *given, **named: self.current().unary_unary(*arguments, **keywords)(*given, **named)

    def unary_stream(self, *arguments: Any, **keywords: Any) -> Any:
        """Return a method that is answered by a stream."""
        return lambda *given, **named: self.current().unary_stream(*arguments, **keywords)(*given, **named)

    def stream_unary(self, *arguments: Any, **keywords: Any) -> Any:
        """Return a method that takes a stream and is answered once."""
        return lambda *given, **named: self.current().stream_unary(*arguments, **keywords)(*given, **named)

    async def close(self) -> None:
        """Close them all."""
        await asyncio.gather(*self._closing, *(channel.close() for channel in self._renewal.transports))

    def _close(self, channel: grpc.aio.Channel) -> None:
        task = asyncio.get_running_loop().create_task(channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
