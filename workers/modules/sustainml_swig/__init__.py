"""The names by which module scripts know types, nodes, listeners, enums and the client."""

from typing import Any

from orchestrator_modules import enums as _enums
from orchestrator_modules.enums import CmdNode, CmdTask, ErrorCode, NodeID, Status, TaskStatus
from orchestrator_modules.identifier import TaskId
from orchestrator_modules.listeners import (
    AppRequirementsTaskListener,
    CarbonFootprintTaskListener,
    HardwareConstraintsTaskListener,
    HardwareResourcesTaskListener,
    MLModelMetadataTaskListener,
    MLModelTaskListener,
    RequestReplyListener,
)
from orchestrator_modules.nodes import (
    AppRequirementsNode,
    CarbonFootprintNode,
    HardwareConstraintsNode,
    HardwareResourcesNode,
    MLModelMetadataNode,
    MLModelNode,
)
from orchestrator_modules.types import (
    AppRequirements,
    CO2Footprint,
    HWConstraints,
    HWResource,
    MLModel,
    MLModelMetadata,
    NodeControl,
    NodeStatus,
    RequestType,
    ResponseType,
    UserInput,
)
from orchestrator_modules.vectors import std_string_vec, uint8_t_vector

_CLIENT = ("OrchestratorNode", "OrchestratorNodeHandle")


def __getattr__(name: str) -> Any:
    """Return what is of the client part: modules need no HTTP, which takes longer to import than all else."""
    if name in _CLIENT:
        from orchestrator_modules.front import client

        return getattr(client, name)
    raise AttributeError(f"module 'sustainml_swig' has no attribute {name!r}")


# Each value also stands by itself, as NodeID_ID_ML_MODEL.
globals().update(_enums.FLAT)

__all__ = [
    "AppRequirements",
    "AppRequirementsNode",
    "AppRequirementsTaskListener",
    "CO2Footprint",
    "CarbonFootprintNode",
    "CarbonFootprintTaskListener",
    "CmdNode",
    "CmdTask",
    "ErrorCode",
    "HWConstraints",
    "HWResource",
    "HardwareConstraintsNode",
    "HardwareConstraintsTaskListener",
    "HardwareResourcesNode",
    "HardwareResourcesTaskListener",
    "MLModel",
    "MLModelMetadata",
    "MLModelMetadataNode",
    "MLModelMetadataTaskListener",
    "MLModelNode",
    "MLModelTaskListener",
    "NodeControl",
    "NodeID",
    "NodeStatus",
    "OrchestratorNode",
    "OrchestratorNodeHandle",
    "RequestReplyListener",
    "RequestType",
    "ResponseType",
    "Status",
    "TaskId",
    "TaskStatus",
    "UserInput",
    "std_string_vec",
    "uint8_t_vector",
    *_enums.FLAT,
]
