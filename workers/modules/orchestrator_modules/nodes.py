"""The six classes of nodes: who makes one has a module, and what it spins for is told to its listeners."""

import os
import signal
import socket
from typing import Any, ClassVar

from orchestrator_modules import program
from orchestrator_modules.conversation import Conversation
from orchestrator_modules.frames import Hello
from orchestrator_modules.kinds import KIND_OF, Kind

_NAME = "SUSTAINML_NODE_NAME"
_DOMAIN = "SUSTAINML_DOMAIN_ID"
_SLOTS = "ORCHESTRATOR_MODULE_CONCURRENCY"
_DEFAULT_SLOTS = 2
_LONGEST_NAME = 40
_NOT_A_SCRIPTS = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)


class _Known:
    """The nodes of one kind in this process, and whether they were told to end before there was one."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.ended_early = False


class Node:
    """A module: it may be made in any thread, returns at once, and needs no orchestrator to be made.

    Args:
        task_listener: is told of tasks, by `on_new_task_available`.
        service_listener: is told of configuration requests, by `on_configuration_request`.

    Raises:
        ValueError: one of them is None, or a setting in the environment is wrong.
    """

    KIND: ClassVar[Kind]
    _KNOWN: ClassVar[_Known]

    def __init__(self, task_listener: Any, service_listener: Any) -> None:
        if task_listener is None or service_listener is None:
            raise ValueError(f"{type(self).__name__} needs a listener for tasks and one for configuration requests")
        self._conversation = Conversation(
            self.KIND,
            _hello(self.KIND, len(self._KNOWN.nodes)),
            task_listener.on_new_task_available,
            service_listener.on_configuration_request,
        )
        self._KNOWN.nodes.append(self)
        # After that: who ends them all at this moment finds it, or is found.
        self._ended_early = self._KNOWN.ended_early and len(self._KNOWN.nodes) == 1
        if self._ended_early:
            self._conversation.end()

    def spin(self) -> None:
        """Do tasks until `terminate`; return soon after it."""
        self._conversation.spin()
        self._conversation.over.wait()
        if self._ended_early and signal.getsignal(signal.SIGINT) not in _NOT_A_SCRIPTS:
            # The script may have begun its main loop after its handler has ended it.
            program.interrupt()

    @classmethod
    def terminate(cls) -> None:
        """End the nodes of this kind in this process: again, before `spin` and in handlers of signals, too."""
        cls._KNOWN.ended_early = True
        for node in tuple(cls._KNOWN.nodes):
            node._conversation.end()


def _hello(kind: Kind, earlier: int) -> Hello:
    ending = f"-{os.getpid()}"
    name = os.environ.get(_NAME) or f"{socket.gethostname()[: _LONGEST_NAME - len(ending) - 3]}{ending}"
    if len(name) > _LONGEST_NAME or "/" in name:
        raise ValueError(f"{_NAME} is {name!r}; at most {_LONGEST_NAME} characters are expected, none of them a slash")
    return Hello(
        kind=kind.name,
        name=f"{name}-{earlier + 1}" if earlier else name,
        deployment=f"domain-{_number(_DOMAIN, 0, 0)}",
        process=program.PROCESS,
        slots=_number(_SLOTS, _DEFAULT_SLOTS, 1),
        program=program.STARTED,
        command=program.BECAUSE,
    )


def _number(variable: str, default: int, least: int) -> int:
    given = os.environ.get(variable) or str(default)
    try:
        number = int(given)
    except ValueError:
        number = least - 1
    if number < least:
        raise ValueError(f"{variable} is {given!r}; an integer of at least {least} is expected")
    return number


def _make(name: str) -> type[Node]:
    kind = KIND_OF[name]
    described = {
        "__module__": "sustainml_swig",
        "__doc__": f"A module of the kind {name}.",
        "KIND": kind,
        "_KNOWN": _Known(),
    }
    return type(f"{kind.base}Node", (Node,), described)


AppRequirementsNode = _make("APP_REQUIREMENTS")
CarbonFootprintNode = _make("CARBON_FOOTPRINT")
HardwareConstraintsNode = _make("HW_CONSTRAINTS")
HardwareResourcesNode = _make("HW_RESOURCES")
MLModelMetadataNode = _make("ML_MODEL_METADATA")
MLModelNode = _make("ML_MODEL")
