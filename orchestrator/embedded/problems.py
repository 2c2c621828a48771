"""What a federation needs besides to serve problems: settings of its server and beat, and queues for its modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

from orchestrator.embedded.commands import Places
from orchestrator.embedded.ports import HOST
from orchestrator.files import whole

KINDS = ("app_requirements", "carbon_footprint", "hw_constraints", "hw_resources", "ml_model_metadata", "ml_model")
"""As queues call the kinds of modules."""

PORT = 5001
"""Where front ends that exist look for the orchestrator, on this machine."""

_DEPLOYMENT = "domain-0"
_KEY = "PROBLEMS_SECRET_KEY"
_MODEL_HUB = "HF_TOKEN"
_PREFIX = "ORCHESTRATOR_"
_OF_PROBLEMS = (_PREFIX + "PROBLEMS_", _PREFIX + "MODULE_", _PREFIX + _MODEL_HUB)
# Who may call, and what may be called, is the federation's own affair: front ends of this machine.
_OF_PLACES = frozenset(f"PROBLEMS_{name}" for name in ("IDENTITY", "URL"))


def of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an operator's environment says of problems, as settings without their prefix.

    Args:
        environment: where the model hub's token may be named without our prefix, too; with it counts more.
    """
    named = {_MODEL_HUB: environment[_MODEL_HUB]} if environment.get(_MODEL_HUB) else {}
    ours = {name.removeprefix(_PREFIX): value for name, value in environment.items() if name.startswith(_OF_PROBLEMS)}
    return named | {name: value for name, value in ours.items() if value and name not in _OF_PLACES}


@dataclass(frozen=True)
class Served:
    """The problems that a federation serves.

    Args:
        organization: whose they are; its modules call with its certificate.
        deployments: their deployments; HTTP serves the first.
        port: of the HTTP of problems.
        own: an operator's settings, without their prefix; those of where and whose it is count for nothing.
    """

    organization: str
    deployments: Sequence[str] = (_DEPLOYMENT,)
    port: int = PORT
    own: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def queues(self) -> list[str]:
        """The queues of the modules."""
        return [f"module.{deployment}.{kind}" for deployment in self.deployments for kind in KINDS]

    @property
    def address(self) -> str:
        """The URL of the HTTP of problems."""
        return f"http://{HOST}:{self.port}"

    def settings(self, places: Places) -> Mapping[str, object]:
        """Return the settings of a server and a beat, without their prefix."""
        return {
            **({} if _KEY in self.own else {_KEY: _kept_key(places.data / "problems.key")}),
            **self.own,
            "PROBLEMS_ADDRESS": f"{HOST}:{self.port}",
            "PROBLEMS_ORGANIZATION": self.organization,
            "PROBLEMS_CHANNEL": places.channel,
            "PROBLEMS_DEPLOYMENT": self.deployments[0],
        }


def _kept_key(file: Path) -> str:
    """Return the key by which users' secrets are kept, of the last time where there was one."""
    if not file.exists():
        whole.write(file, Fernet.generate_key(), whole.PRIVATE)
    return file.read_text().strip()
