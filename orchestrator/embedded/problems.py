"""What a federation needs besides to serve problems: settings of its server and beat, and queues for its modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.embedded.commands import Places
from orchestrator.embedded.ports import HOST

KINDS = ("app_requirements", "carbon_footprint", "hw_constraints", "hw_resources", "ml_model_metadata", "ml_model")
"""As queues call the kinds of modules."""

PORT = 5001
"""Where front ends that exist look for the orchestrator, on this machine."""

_DEPLOYMENT = "domain-0"


@dataclass(frozen=True)
class Served:
    """The problems that a federation serves.

    Args:
        organization: whose they are; its modules call with its certificate.
        deployments: their deployments; HTTP serves the first.
        port: of the HTTP of problems.
    """

    organization: str
    deployments: Sequence[str] = (_DEPLOYMENT,)
    port: int = PORT

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
            "PROBLEMS_ADDRESS": f"{HOST}:{self.port}",
            "PROBLEMS_ORGANIZATION": self.organization,
            "PROBLEMS_CHANNEL": places.channel,
            "PROBLEMS_DEPLOYMENT": self.deployments[0],
        }
