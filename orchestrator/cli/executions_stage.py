"""What the demo of executions needs beside its federation: data at the partners, maps of images, a MaaS."""

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from examples.executions import data, maas
from orchestrator.embedded import readiness
from orchestrator.embedded.commands import images_of
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.processes import Process

PARTNERS = ("data-partner-1", "data-partner-2")
CENTRAL = "central"

_EXAMPLE = Path(data.__file__).parent
_ENGINE = _EXAMPLE / "engine"
_READY_SECONDS = 30.0


class Stage:
    """The files and the MaaS of one demo; nothing of it is anywhere but in the demo's folder.

    Args:
        place: that folder; made if missing.

    Attributes:
        partners: what each data partner has.
        sent: a zip of images for an inference.
        shown: the digits that these show.
        shared: a folder of the central node, for what its containers hand to each other.
    """

    def __init__(self, place: Path) -> None:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.partners, self.sent, self.shown = data.deal(place / "partners", PARTNERS)
        self.shared = place / "shared"
        self.shared.mkdir()
        self._port = free_port()
        self._maas = Process(
            "maas",
            [sys.executable, "-P", "-m", maas.__name__, self.maas],
            log=place / "logs" / "maas.log",
            cwd=place,
        )
        for organization in (*PARTNERS, CENTRAL):
            file = images_of(place, organization)
            file.parent.mkdir(exist_ok=True)
            file.write_text(yaml.safe_dump(self._images(organization), sort_keys=False))

    @property
    def maas(self) -> str:
        """host:port of MaaS."""
        return f"{HOST}:{self._port}"

    def start(self) -> None:
        """Start MaaS, and wait until it answers.

        Raises:
            ProcessError: it does not.
        """
        self._maas.start()
        self._maas.wait_ready(lambda: readiness.listens(self._port), _READY_SECONDS)

    def stop(self) -> None:
        """End MaaS."""
        self._maas.stop()

    def workflow(self, name: str, kafka: str) -> bytes:
        """Return a workflow of the example; what it says of this machine is put in.

        Args:
            name: of its file, without the ending.
            kafka: host:port of the broker.
        """
        written = yaml.safe_load((_EXAMPLE / "workflows" / f"{name}.yaml").read_text(encoding="utf-8"))
        here = {"kafka": kafka, "shared": str(self.shared)}
        for parameter in written["spec"].get("arguments", {}).get("parameters", []):
            parameter["value"] = here[parameter["name"]]
        return yaml.safe_dump(written, sort_keys=False).encode()

    def schema(self, name: str) -> str:
        """Return a schema of the example, in JSON."""
        return (_EXAMPLE / "schemas" / f"{name}.json").read_text(encoding="utf-8")

    def _images(self, organization: str) -> dict[str, dict[str, object]]:
        def image(*paths: str) -> dict[str, object]:
            return {"command": ["python3", str(_ENGINE)], "network": True, "paths": [str(_ENGINE), *paths]}

        own: Sequence[str] = [str(each.file.parent) for each in self.partners if each.name == organization]
        images = {f"{maas.NAME}:{maas.CONTAINER_VERSION}": image(*own)}
        if organization == CENTRAL:
            images["federated-learning-manager:2.0.0"] = image(f"{self.shared}:rw")
        return images
