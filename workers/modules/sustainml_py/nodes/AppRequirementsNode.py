"""The node `AppRequirementsNode`."""

from orchestrator_modules import nodes
from orchestrator_modules.callbacks import Calling


class AppRequirementsNode(Calling):
    """Runs a callback for each task, and another for each configuration request."""

    NODE = nodes.AppRequirementsNode
