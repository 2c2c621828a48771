"""The node `HardwareResourcesNode`."""

from orchestrator_modules import nodes
from orchestrator_modules.callbacks import Calling


class HardwareResourcesNode(Calling):
    """Runs a callback for each task, and another for each configuration request."""

    NODE = nodes.HardwareResourcesNode
