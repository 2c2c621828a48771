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

    Attributes:
        partners: what each data partner has.
        sent: a zip of images for an inference.
        shown: the digits that these show.
        shared: a folder of the central node, for what its containers hand to each other.
    """

    def __init__(self) -> None:
        self.partners: Sequence[data.Partner] = ()
        self.sent = b""
        self.shown: Sequence[int] = ()
        self.shared = Path()
        self._port = free_port()
        self._maas: Process | None = None

    def prepare(self, place: Path) -> None:
        """Write the files, and start MaaS.

        Args:
            place: the folder of the demo's data.

        Raises:
            OSError: a file cannot be written.
        """
        self.partners, self.sent, self.shown = data.deal(place / "partners", PARTNERS)
        self.shared = place / "shared"
        self.shared.mkdir()
        for organization in (*PARTNERS, CENTRAL):
            file = images_of(place, organization)
            file.parent.mkdir(exist_ok=True)
            file.write_text(yaml.safe_dump(self._images(organization), sort_keys=False))
        argv = [sys.executable, "-P", "-m", maas.__name__, self.maas]
        self._maas = Process("maas", argv, log=place / "logs" / "maas.log", cwd=place)
        self._maas.start()

    @property
    def maas(self) -> str:
        """host:port of MaaS."""
        return f"{HOST}:{self._port}"

    def await_ready(self) -> None:
        """Wait until MaaS answers.

        Raises:
            ProcessError: it does not.
        """
        if self._maas is not None:
            self._maas.wait_ready(lambda: readiness.listens(self._port), _READY_SECONDS)

    def stop(self) -> None:
        """End MaaS."""
        if self._maas is not None:
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
