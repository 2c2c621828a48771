"""Where a container runs: beside a data partner's data, or at the central node."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core import pokes
from orchestrator.executions.graph.errors import OutsideError
from orchestrator.executions.settings import ExecutionSettings

PARTNER = "dataPartner"
"""The label of a data partner's nodes."""


@dataclass(frozen=True)
class Place:
    """Who runs a container.

    Args:
        worker: the organization.
        queue: that its workers read.
    """

    worker: str
    queue: str

    @classmethod
    def of(cls, organization: str) -> "Place":
        """Return the place of an organization's workers."""
        return cls(organization, pokes.queue(organization))


def of(selector: Mapping[str, str], central: str, settings: ExecutionSettings, where: str) -> Place:
    """Return the place that a `nodeSelector` names; the central node where it names none.

    Args:
        selector: label -> value.
        central: the organization of the central node.
        settings: of executions.
        where: the selector stands.

    Raises:
        OutsideError: it names another label, or nobody who is known.
    """
    left = dict(selector)
    key, value = settings.platform_central_node_label_key, settings.platform_central_node_label_value
    partner = left.pop(PARTNER, None)
    at_center = left.pop(key, None)
    if left or (partner is not None and at_center is not None):
        raise OutsideError(where, f"`nodeSelector` takes `{PARTNER}`, or `{key}`, and nothing else")
    if at_center is not None and at_center != value:
        raise OutsideError(where, f"`{key}` of the central node is `{value}`, not `{at_center[:100]}`")
    if partner is None:
        return Place.of(central)
    if partner not in settings.valid_data_partners:
        raise OutsideError(
            where, f"`{partner[:100]}` is no data partner; there is {list(settings.valid_data_partners)}"
        )
    return Place.of(partner)
