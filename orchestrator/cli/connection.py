"""Which orchestrator the commands of a user talk to, and as whom."""

import shlex
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.cli.connected import Connected, parsed
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault
from orchestrator.telemetry import spans
from orchestrator.telemetry.switch import SwitchError

if TYPE_CHECKING:
    from orchestrator.client import CallError, Certificates, Client
    from orchestrator.embedded.running import Running


@dataclass(frozen=True)
class Access:
    """All that is needed to connect.

    Args:
        address: host:port of the orchestrator.
        organization: as whom.
        channel: the consortium.
        certificates: for mutual TLS; None speaks plain gRPC.
        peers: CA certificates of the asset stores.
        proxy_from_environment: whether to connect by the proxy that the environment names.
        consent_folder: with the consent policies of the federation that runs here; None elsewhere.
        here: that federation, where nobody has said as whom; None elsewhere, see `acting`.
    """

    address: str
    organization: str
    channel: str
    certificates: "Certificates | None"
    peers: Path | None
    proxy_from_environment: bool
    consent_folder: Path | None = None
    here: "Running | None" = None


@dataclass(frozen=True)
class Target:
    """What the command line and the environment say; see the options."""

    data: Path | None
    address: str | None
    org: str | None
    channel: str | None
    ca_cert: Path | None
    cert: Path | None
    key: Path | None
    peer_ca_cert: Path | None
    proxy_from_environment: bool

    def command(self, group: str) -> str:
        """Return the beginning of a command line of a group of ours, for people, that means the same as this one.

        What the environment says it will say again.
        """
        context = click.get_current_context()
        while context.parent is not None and not isinstance(context.command, Connected):
            context = context.parent
        words = ["orchestrator", group]
        known = {option.name for option in parsed()}
        for option in context.command.params:
            if not isinstance(option, click.Option) or (option.name not in known and context.command.name != group):
                continue
            name = str(option.name)
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                words += [option.opts[0]] if option.is_flag else [option.opts[0], str(context.params[name])]
        return shlex.join(words)

    def resolve(self) -> Access:
        """Return what to connect with, completed from the federation that runs here where no address is given.

        Raises:
            UsageFault: something is missing.
        """
        channel = self.channel.partition(",")[0].strip() if self.channel else None
        if self.address is None:
            return self._running_here(channel)
        if not self.org or not channel:
            missing = "--org (ORCHESTRATOR_ORGANIZATION)" if not self.org else "--channel (ORCHESTRATOR_CHANNEL)"
            raise UsageFault(f"{missing} is missing: with an address it is needed too")
        proxy = self.proxy_from_environment
        return Access(
            self.address, self.org, channel, self._given_certificates(self.peer_ca_cert), self.peer_ca_cert, proxy
        )

    def _running_here(self, channel: str | None) -> Access:
        from orchestrator.embedded import running
        from orchestrator.embedded.certificates import Layout

        try:
            federation = running.here(self.data)
            organization = self.org or federation.organizations[0]
            peers = self.peer_ca_cert or Layout(federation.certificate_folder).peers
            certificates = self._given_certificates(peers) or federation.certificates(organization)
        except running.NowhereError as error:
            raise UsageFault(
                f"no federation runs in {error.place}: run `orchestrator up`, or say with --data where one runs, or "
                "with --address, --org and --channel (or ORCHESTRATOR_ADDRESS, …) which orchestrator is meant"
            ) from error
        except (ValueError, OSError) as error:
            raise UsageFault(str(error)) from error
        channel, proxy = channel or federation.channel, self.proxy_from_environment
        # Who gives certificates, or an organization, means it.
        here = None if self.org or self.cert else federation
        folder = federation.consent_folder
        return Access(federation.address, organization, channel, certificates, peers, proxy, folder, here)

    def _given_certificates(self, peers: Path | None) -> "Certificates | None":
        from orchestrator.client import Certificates

        if self.ca_cert and self.cert and self.key:
            return Certificates(self.ca_cert, self.cert, self.key, peers)
        if self.ca_cert or self.cert or self.key:
            raise UsageFault("--ca-cert, --cert and --key belong together: give all three files, or none without TLS")
        return None


def remote(address: str, **options: Any) -> Access:
    """Return what to connect to another orchestrator with; see `remote_options`.

    Raises:
        UsageFault: something is missing.
    """
    return Target(data=Path(), address=address, peer_ca_cert=None, **options).resolve()


@contextmanager
def connect(access: Access) -> Iterator["Client"]:
    """Open a connection, and end the command with one line where it or a call fails.

    Raises:
        RemoteFault: the orchestrator or an asset store cannot be reached, or refused.
        UsageFault: a folder or a file in it is not what it should be, or traces are wanted that cannot be had.
        Fault: a function was not built.
    """
    from orchestrator.client import BuildError, CallError, Client, FolderError, StoreError
    from orchestrator.core.documents import DocumentError

    command = click.get_current_context()
    command.call_on_close(spans.end)
    try:
        spans.begin("cli")
        if access.certificates is not None:
            tls(access.certificates, access.certificates.authority)
        proxy = access.proxy_from_environment
        connection = Client(
            access.address, access.organization, access.channel, access.certificates, proxy_from_environment=proxy
        )
    except (ValueError, OSError, SwitchError) as error:
        raise UsageFault(str(error)) from error
    try:
        with connection as client, spans.span(command.command_path):
            client.ping()
            yield client
    except CallError as error:
        raise RemoteFault(explain(error, access.address)) from error
    except StoreError as error:
        # Without them no store was asked.
        lacks = access.certificates is None or access.peers is None
        raise (UsageFault if lacks else RemoteFault)(str(error)) from error
    except (FolderError, DocumentError) as error:
        raise UsageFault(str(error)) from error
    except (BuildError, TimeoutError) as error:
        raise Fault(str(error)) from error


def tls(certificates: "Certificates", authority: Path) -> ssl.SSLContext:
    """Return what is needed for mutual TLS with those whom an authority vouches for.

    Raises:
        UsageFault: the files are no certificates, or the key is not the certificate's.
    """
    from orchestrator.client import StoreError, stores

    try:
        return stores.tls(certificates, authority)
    except StoreError as error:
        raise UsageFault(str(error)) from error


def explain(error: "CallError", address: str) -> str:
    """Return in one line what went wrong with a call, and what to do."""
    message = error.message.partition("\n")[0]
    if error.oe_code:
        return f"{error.oe_code}: {message}"
    if error.lost:
        return f"the orchestrator at {address} cannot be reached: {message}; check the address and the certificates"
    return f"the orchestrator at {address} answered {error.status.name}: {message}"
