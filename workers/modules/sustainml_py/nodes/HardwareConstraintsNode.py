"""The node `HardwareConstraintsNode`."""

from orchestrator_modules import nodes
from orchestrator_modules.callbacks import Calling


class HardwareConstraintsNode(Calling):
    """Runs a callback for each task, and another for each configuration request."""

    NODE = nodes.HardwareConstraintsNode
