"""Nodes that call functions, in place of listeners."""

from collections.abc import Callable
from typing import Any, ClassVar

from orchestrator_modules.nodes import Node


class _Listening:
    def __init__(self, callback: Callable[..., object], service_callback: Callable[[Any, Any], object]) -> None:
        self.on_new_task_available = callback
        self.on_configuration_request = service_callback


class Calling:
    """Runs a callback for each task, and another for each configuration request.

    Args:
        callback: called with the inputs in the order of the kind, the status, and the blank output to fill.
        service_callback: called with a request, and the answer to fill.

    Raises:
        ValueError: one of them is missing.
    """

    NODE: ClassVar[type[Node]]

    def __init__(
        self,
        callback: Callable[..., object] | None = None,
        service_callback: Callable[[Any, Any], object] | None = None,
    ) -> None:
        if callback is None or service_callback is None:
            raise ValueError(f"{type(self).__name__} needs a callback for tasks and one for configuration requests")
        listening = _Listening(callback, service_callback)
        self.node_ = self.NODE(listening, listening)

    def spin(self) -> None:
        """Do tasks until `terminate`; return soon after it."""
        self.node_.spin()

    @classmethod
    def terminate(cls) -> None:
        """End the nodes of this kind in this process: again, before `spin` and in handlers of signals, too."""
        cls.NODE.terminate()
