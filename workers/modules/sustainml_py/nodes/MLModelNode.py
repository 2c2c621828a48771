"""The node `MLModelNode`."""

from orchestrator_modules import nodes
from orchestrator_modules.callbacks import Calling


class MLModelNode(Calling):
    """Runs a callback for each task, and another for each configuration request."""

    NODE = nodes.MLModelNode
