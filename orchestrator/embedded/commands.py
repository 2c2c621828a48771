"""Our own commands as child processes of a federation, each with the environment that it needs and no more."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.broker.credentials import Credentials
from orchestrator.client import Certificates
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import HOST
from orchestrator.embedded.processes import Process

NODE = "node-1"
MAINTENANCE_NODE = f"maintenance@{socket.gethostname()}"

# In good order, a Celery worker takes seconds, and hangs if the broker ends meanwhile. Nothing is lost without: what
# it did is in Postgres or undone, and its processes are ended with it (see `reaper`).
_CELERY_STOP = signal.SIGKILL
# Of the user's environment: where programs and files lie, what people read, where traces go. No setting of ours: one
# that was meant for another network would lead a child there.
_INHERITED = ("PATH", "HOME", "TZ", "LANG", "LC_ALL")
_TRACES = "OTEL_"


@dataclass(frozen=True)
class Places:
    """Where the processes of a federation find each other and their files.

    Args:
        data: folder of the federation's data.
        channel: the consortium.
        channel_config: the file that says who is in it.
        certificates: all of them.
        database_url: with the password.
        broker_url: with the password of its administrator, whom no process speaks as.
        broker: the URLs of the broker's accounts.
        broker_urls: the file that keeps them.
        grpc_port: of the orchestrator's gRPC server.
        http_port: of its HTTP server.
        flower_port: of Flower.
        store_ports: organization -> port of its asset store.
        kafka_port: of the light broker of federated executions; 0 without.
    """

    data: Path
    channel: str
    channel_config: Path
    certificates: Layout
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    broker: Credentials
    broker_urls: Path
    grpc_port: int
    http_port: int
    flower_port: int
    store_ports: Mapping[str, int]
    kafka_port: int = 0

    @property
    def logs(self) -> Path:
        """Folder with a log for each process."""
        return self.data / "logs"

    @property
    def temporary(self) -> Path:
        """Folder for temporary files of the processes: who is killed leaves some."""
        return self.data / "tmp"

    @property
    def address(self) -> str:
        """host:port of the gRPC server."""
        return f"{HOST}:{self.grpc_port}"

    @property
    def http_address(self) -> str:
        """host:port of the HTTP server."""
        return f"{HOST}:{self.http_port}"

    @property
    def consent(self) -> Path:
        """Folder with a consent policy for each organization, and what each has decided."""
        return self.data / "consent"

    def store_root(self, organization: str) -> Path:
        """Where an organization's assets lie."""
        return self.data / "stores" / organization

    def store_url(self, organization: str) -> str:
        """The base of the addresses of an organization's assets."""
        return f"https://{HOST}:{self.store_ports[organization]}"


def images_of(data: Path, organization: str) -> Path:
    """Return the map of images of an organization: its worker runs container steps where the file is there."""
    return data / "images" / f"{organization}.yaml"


def policy_of(folder: Path, organization: str) -> Path:
    """Return the consent policy of an organization, in the folder of all."""
    return folder / f"{organization}.yaml"


def migrate(places: Places) -> Process:
    """Return the process that brings the database up to date, and ends."""
    return command(places, "migrate", ["migrate"], {"DATABASE_URL": places.database_url})


def serve(places: Places, settings: Mapping[str, object], name: str = "serve") -> Process:
    """Return the orchestrator's server, with mutual TLS and identities verified.

    Args:
        places: of the federation.
        settings: more of its settings, without their prefix.
        name: of the process.
    """
    certificates = places.certificates.server
    return command(
        places,
        name,
        ["serve"],
        {
            "DATABASE_URL": places.database_url,
            "BROKER_URLS": places.broker_urls,
            "CHANNEL_CONFIG": places.channel_config,
            "GRPC_ADDRESS": places.address,
            "HTTP_ADDRESS": places.http_address,
            "METRICS_ENABLED": "true",
            "TLS_ENABLED": "true",
            "TLS_CERT_PATH": certificates.certificate,
            "TLS_KEY_PATH": certificates.key,
            "TLS_SERVER_CA_CERT": certificates.authority,
            "MTLS_ENABLED": "true",
            "TLS_CLIENT_CA_CERT_DIR": places.certificates.client_authorities,
            "VERIFY_CLIENT_MSP_ID": "true",
            **settings,
        },
    )


def beat(places: Places, settings: Mapping[str, object]) -> Process:
    """Return the maintenance worker with its beat.

    Args:
        places: of the federation.
        settings: more of its settings, without their prefix.
    """
    return command(
        places,
        "beat",
        ["beat"],
        {"DATABASE_URL": places.database_url, "BROKER_URL": places.broker.maintenance, **settings},
        stop_signal=_CELERY_STOP,
    )


def flower(places: Places, credentials: str) -> Process:
    """Return Flower.

    Args:
        places: of the federation.
        credentials: user:password that it asks for.
    """
    return command(
        places,
        "flower",
        ["flower", f"--address={HOST}", f"--port={places.flower_port}"],
        {
            "BROKER_URL": places.broker.flower,
            "ORGANIZATIONS": ",".join(places.broker.organizations),
            "QUEUES": ",".join(places.broker.queues),
        },
        {"FLOWER_BASIC_AUTH": credentials},
    )


def worker(places: Places, organization: str, settings: Mapping[str, object], node: str = NODE) -> Process:
    """Return an organization's worker; it ends at once, without waiting for its tasks.

    Args:
        places: of the federation.
        organization: whose.
        settings: more of its settings, without their prefix.
        node: its name among the organization's workers.
    """
    images = images_of(places.data, organization)
    return command(
        places,
        f"worker-{organization}" if node == NODE else f"worker-{organization}-{node}",
        ["worker", "--org", organization],
        {
            **member(places, places.certificates.client(organization)),
            "BROKER_URL": places.broker.organizations[organization],
            "PEER_CA_CERT": places.certificates.peer(organization).authority,
            "STORE_ROOT": places.store_root(organization),
            "STORE_URL": places.store_url(organization),
            "WORK_DIR": places.data / "work",
            "CONSENT_POLICY": policy_of(places.consent, organization),
            "NODE": node,
            **({"IMAGES": images} if images.exists() else {}),
            **settings,
        },
        stop_signal=_CELERY_STOP,
    )


def store(places: Places, organization: str) -> Process:
    """Return an organization's asset store."""
    certificates = places.certificates.store(organization)
    return command(
        places,
        f"store-{organization}",
        ["store", "--org", organization],
        {
            **member(places, places.certificates.client(organization)),
            "STORE_ROOT": places.store_root(organization),
            "STORE_URL": places.store_url(organization),
            "STORE_ADDRESS": f"{HOST}:{places.store_ports[organization]}",
            "STORE_CERT": certificates.certificate,
            "STORE_KEY": certificates.key,
            "TLS_CLIENT_CA_CERT_DIR": places.certificates.client_authorities,
        },
    )


def why_not_isolated() -> str | None:
    """Return why functions cannot be isolated on this machine, in a few words; None where they can."""
    tried = subprocess.run(
        [sys.executable, "-P", "-m", "workers.executors.sandbox"],
        env={key: os.environ[key] for key in _INHERITED if key in os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    # What comes after is advice for who runs a worker alone.
    return None if tried.returncode == 0 else tried.stderr.strip().rpartition("\n")[2].partition(";")[0]


def member(places: Places, certificates: Certificates) -> dict[str, object]:
    """Return the settings of a process of an organization by which it reaches the orchestrator.

    Args:
        places: of the federation.
        certificates: of the organization.
    """
    return {
        "CHANNELS": places.channel,
        "ADDRESS": places.address,
        "CLIENT_CA_CERT": certificates.authority,
        "CLIENT_CERT": certificates.certificate,
        "CLIENT_KEY": certificates.key,
    }


def command(
    places: Places,
    name: str,
    arguments: list[str],
    settings: Mapping[str, object],
    others: Mapping[str, str] | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Process:
    """Return a command of ours as a process.

    Args:
        places: of the federation.
        name: of the process.
        arguments: of the command line.
        settings: in its environment, without their prefix.
        others: more of its environment.
        stop_signal: asks it to end.
    """
    return Process(
        name,
        # -P: a folder named like one of our packages, where we happen to run, must not be taken for it.
        [sys.executable, "-P", "-m", "orchestrator", *arguments],
        log=places.logs / f"{name}.log",
        env={
            **{key: value for key, value in os.environ.items() if key in _INHERITED or key.startswith(_TRACES)},
            "TMPDIR": str(places.temporary),
            **{f"ORCHESTRATOR_{key}": str(value) for key, value in settings.items()},
            **(others or {}),
        },
        cwd=places.data,
        stop_signal=stop_signal,
    )
