"""The node `OrchestratorNode`: a front end."""

from collections.abc import Callable
from typing import Any

from orchestrator_modules.front import client


class _Handling(client.OrchestratorNodeHandle):
    def __init__(self, new_node_output: Callable[..., object], node_status_change: Callable[..., object]) -> None:
        self._new_node_output = new_node_output
        self._node_status_change = node_status_change

    def on_new_node_output(self, id: int, data: Any) -> None:
        self._new_node_output(id, data)

    def on_node_status_change(self, id: int, status: Any) -> None:
        self._node_status_change(id, status)


class OrchestratorNode:
    """Calls a function for each output, and another for each state of a kind of module.

    Args:
        new_node_output: called with the id of a kind, and its output.
        node_status_change: called with the id of a kind, and a NodeStatus.

    Raises:
        ValueError: one of them is missing.

    Attributes:
        node_: the node itself, by which problems are submitted.
    """

    def __init__(
        self,
        new_node_output: Callable[..., object] | None = None,
        node_status_change: Callable[..., object] | None = None,
    ) -> None:
        if new_node_output is None or node_status_change is None:
            raise ValueError("OrchestratorNode needs a callback for outputs and one for states")
        self.node_ = client.OrchestratorNode(_Handling(new_node_output, node_status_change))

    def spin(self) -> None:
        """Wait until `terminate`."""
        self.node_.spin()

    @classmethod
    def terminate(cls) -> None:
        """End all that spin in this process."""
        client.OrchestratorNode.terminate()
