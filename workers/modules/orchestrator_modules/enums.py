"""The enums, as plain numbers: `NodeID.ID_ML_MODEL`, and flat, `NodeID_ID_ML_MODEL`."""


class NodeID:
    """The ids of the kinds of module, and what else stands in their place."""

    ID_APP_REQUIREMENTS = 0
    ID_CARBON_FOOTPRINT = 1
    ID_HW_CONSTRAINTS = 2
    ID_HW_RESOURCES = 3
    ID_ML_MODEL_METADATA = 4
    ID_ML_MODEL = 5
    ID_MAX = 6
    """How many kinds there are; never a module."""
    ID_ORCHESTRATOR = 7
    """Its output is the user's input."""
    ID_UNKNOWN = 8


class Status:
    """The states of a module."""

    NODE_INACTIVE = 0
    NODE_ERROR = 1
    NODE_IDLE = 2
    NODE_INITIALIZING = 3
    NODE_RUNNING = 4
    NODE_TERMINATING = 5


class TaskStatus:
    """The states of a stage and of an iteration."""

    TASK_WAITING = 0
    TASK_ERROR = 1
    TASK_RUNNING = 2
    TASK_SUCCEEDED = 3
    TASK_STOPPED = 4
    TASK_SKIPPED = 5


class ErrorCode:
    """Whether a configuration request was answered, or why not."""

    NO_ERROR = 0
    INTERNAL_ERROR = 1


class CmdNode:
    """The commands to a module."""

    NO_CMD_NODE = 0
    START_NODE = 1
    STOP_NODE = 2
    RESET_NODE = 3
    TERMINATE_NODE = 4


class CmdTask:
    """The commands to an iteration."""

    NO_CMD_TASK = 0
    STOP_TASK = 1
    RESET_TASK = 2
    PREEMPT_TASK = 3
    TERMINATE_TASK = 4


FLAT = {
    f"{enum.__name__}_{name}": value
    for enum in (NodeID, Status, TaskStatus, ErrorCode, CmdNode, CmdTask)
    for name, value in vars(enum).items()
    if isinstance(value, int)
}
