"""The kinds of module: what each is called, and what it makes."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of module.

    Args:
        number: its id.
        name: as in HTTP and in the names of queues.
        base: what the names of its class and of its listener begin with.
        output: the type of what it makes.
    """

    number: int
    name: str
    base: str
    output: str

    def queue(self, deployment: str) -> str:
        """Return the name of the queue of this kind in a deployment."""
        return f"module.{deployment}.{self.name.lower()}"


KINDS = (
    Kind(0, "APP_REQUIREMENTS", "AppRequirements", "AppRequirements"),
    Kind(1, "CARBON_FOOTPRINT", "CarbonFootprint", "CO2Footprint"),
    Kind(2, "HW_CONSTRAINTS", "HardwareConstraints", "HWConstraints"),
    Kind(3, "HW_RESOURCES", "HardwareResources", "HWResource"),
    Kind(4, "ML_MODEL_METADATA", "MLModelMetadata", "MLModelMetadata"),
    Kind(5, "ML_MODEL", "MLModel", "MLModel"),
)

KIND_OF: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
