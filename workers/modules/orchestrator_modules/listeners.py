"""What a module's script subclasses to be told of tasks and of configuration requests."""

from typing import Any


class TaskListener:
    """Is told of tasks."""

    def on_new_task_available(self, *arguments: Any) -> None:
        """Do a task.

        Args:
            arguments: the inputs in the order of the kind, the status of the module, and the blank output to fill.
        """
        raise NotImplementedError("a task listener says in on_new_task_available what is done for a task")


class AppRequirementsTaskListener(TaskListener):
    """With the user's input."""


class CarbonFootprintTaskListener(TaskListener):
    """With the model, the user's input and the hardware."""


class HardwareConstraintsTaskListener(TaskListener):
    """With the user's input."""


class HardwareResourcesTaskListener(TaskListener):
    """With the model, the requirements and the constraints."""


class MLModelMetadataTaskListener(TaskListener):
    """With the user's input."""


class MLModelTaskListener(TaskListener):
    """With the metadata, the requirements, the constraints, and model, hardware and footprint of the parent."""


class RequestReplyListener:
    """Is told of configuration requests."""

    def on_configuration_request(self, req: Any, res: Any) -> None:
        """Answer a request.

        Args:
            req: the request.
            res: the answer, to be filled.
        """
        raise NotImplementedError("a request listener says in on_configuration_request what is answered")
