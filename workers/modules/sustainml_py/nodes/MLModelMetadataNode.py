"""The node `MLModelMetadataNode`."""

from orchestrator_modules import nodes
from orchestrator_modules.callbacks import Calling


class MLModelMetadataNode(Calling):
    """Runs a callback for each task, and another for each configuration request."""

    NODE = nodes.MLModelMetadataNode
