"""The client part: problems, results, commands and questions, as scripts for front ends know them."""

import json
import sys
from multiprocessing.connection import wait
from typing import Any, ClassVar

from orchestrator_modules.enums import CmdTask, ErrorCode, NodeID
from orchestrator_modules.front.service import Service, ServiceError, document_of
from orchestrator_modules.front.watching import Watching, output_of
from orchestrator_modules.identifier import TaskId
from orchestrator_modules.kinds import KINDS
from orchestrator_modules.types import Message, ResponseType
from orchestrator_modules.wake import Wake

_ANSWER_SECONDS = 600.0
_ORCHESTRATOR = "ORCHESTRATOR"
_NUMBERED = {kind.number: kind.name for kind in KINDS} | {NodeID.ID_ORCHESTRATOR: _ORCHESTRATOR}


class OrchestratorNodeHandle:
    """Is told what happens; to be subclassed."""

    def on_new_node_output(self, id: int, data: Any) -> None:
        """Hear of an output, which can be read now.

        Args:
            id: of the kind of module.
            data: the output.
        """

    def on_node_status_change(self, id: int, status: Any) -> None:
        """Hear of the state of a kind of module.

        Args:
            id: of the kind.
            status: a NodeStatus.
        """


class OrchestratorNode:
    """A front end: it submits problems to an orchestrator, and hears what becomes of them.

    It needs no orchestrator to be made; the handler is told of the states of all modules once there is one.

    Args:
        handler: is told what happens.
    """

    _KNOWN: ClassVar[list["OrchestratorNode"]] = []

    def __init__(self, handler: Any) -> None:
        self._service = Service()
        self._watching = Watching(self._service, handler.on_new_node_output, handler.on_node_status_change)
        self._wake = Wake()
        self._ended = False
        self._watching.start()
        self._KNOWN.append(self)

    def spin(self) -> None:
        """Wait until `terminate`."""
        while not self._ended:
            wait([self._wake.fileno()])
            self._wake.clear()

    @classmethod
    def terminate(cls) -> None:
        """End all that spin in this process; neither waits nor locks: it is for handlers of signals."""
        for node in tuple(cls._KNOWN):
            node._ended = True
            node._wake.up()

    def destroy(self) -> None:
        """Hear nothing any more; its connections are closed within some seconds, and serve nothing after that."""
        self._ended = True
        self._wake.up()
        self._watching.end()
        if self in self._KNOWN:
            self._KNOWN.remove(self)

    def prepare_new_task(self) -> tuple[TaskId, Any]:
        """Return the id and the blank input of a new problem, which does not run yet.

        Raises:
            ServiceError: the orchestrator does not answer.
        """
        return self._prepared(self._service.call("POST", "/api/problems", {"start": False}))

    def prepare_new_iteration(self, from_id: TaskId, _last_id: TaskId | None = None, /) -> tuple[TaskId, Any]:
        """Return the id of a new iteration and its input, which is its parent's; it does not run yet.

        Args:
            from_id: the parent.

        Raises:
            ServiceError: there is no such parent, or the orchestrator does not answer.
        """
        path = f"/api/problems/{from_id.problem_id()}/iterations"
        return self._prepared(self._service.call("POST", path, {"from": from_id.iteration_id(), "start": False}))

    def start_task(self, id: TaskId, user_input: Any) -> bool:
        """Start a prepared task with an input; return whether it runs.

        Args:
            id: of the task.
            user_input: in place of the one that it was prepared with.
        """
        path = f"/api/problems/{id.problem_id()}/iterations/{id.iteration_id()}/start"
        try:
            document = document_of(user_input)
            del document["previous_iteration"]
            self._service.call("POST", path, document)
        except ServiceError as error:
            print(f"task {id} is not started: {error}", file=sys.stderr)
            return False
        return True

    start_iteration = start_task

    def configuration_request(self, request: Any) -> Any:
        """Ask a module, and return its answer; a failure is an answer, too.

        Args:
            request: a RequestType.
        """
        response: Any = ResponseType()
        response.node_id(request.node_id())
        response.transaction_id(request.transaction_id())
        kind = _NUMBERED.get(request.node_id())
        try:
            if kind is None or kind == _ORCHESTRATOR:
                raise ServiceError(f"{request.node_id()} is no kind of module")
            document = {"configuration": request.configuration(), "timeout": _ANSWER_SECONDS}
            answer = self._service.call(
                "POST", f"/api/nodes/{kind}/configuration", document, timeout=_ANSWER_SECONDS + 10
            )["answers"][0]
        except ServiceError as error:
            response.err_code(ErrorCode.INTERNAL_ERROR)
            response.configuration(json.dumps({"error": str(error)}, ensure_ascii=False))
            return response
        response.success(answer["success"])
        response.err_code(answer["err_code"])
        response.configuration(answer["configuration"])
        return response

    def send_control_command(self, control: Any) -> None:
        """Give a command to modules, to a task, or both.

        Args:
            control: a NodeControl.

        Raises:
            ServiceError: it cannot be given.
        """
        members = control.members()
        problem, iteration = members.pop("task_id")
        if control.cmd_task() != CmdTask.NO_CMD_TASK:
            members["task_id"] = {"problem_id": problem, "iteration_id": iteration}
        self._service.call("POST", "/api/control", {name: value for name, value in members.items() if value != ""})

    def print_db(self) -> None:
        """Print all problems and their iterations.

        Raises:
            ServiceError: the orchestrator does not answer.
        """
        for problem in self._service.call("GET", "/api/problems?limit=500")["problems"]:
            number = problem["problem_id"]
            print(f"problem {number}: {problem['problem_short_description']}")
            for each in self._service.call("GET", f"/api/problems/{number}")["iterations"]:
                print(f"  iteration {each['task_id']['iteration_id']}: {each['status']}")

    def get_task_id(self, _kind: int, data: Any, /) -> TaskId:
        """Return the id of the task that an output is of."""
        return TaskId(data.task_id())

    def set_task_id(self, problem: int, iteration: int, /) -> TaskId:
        """Return an id."""
        return TaskId(problem, iteration)

    def _prepared(self, answer: Any) -> tuple[TaskId, Any]:
        id = TaskId(answer["task_id"]["problem_id"], answer["task_id"]["iteration_id"])
        return id, output_of(self._service, _ORCHESTRATOR, id.problem_id(), id.iteration_id())


def _getter(kind: str) -> Any:
    def get(self: OrchestratorNode, *arguments: Any) -> Message | None:
        id = arguments[-1]
        found: Message | None = output_of(self._service, kind, id.problem_id(), id.iteration_id())
        return found

    get.__doc__ = f"Return the {kind} of a task by a node, which says nothing, and its id; None where it is not there."
    return get


_GETTERS = {
    "get_app_requirements_task_data": "APP_REQUIREMENTS",
    "get_carbontracker_task_data": "CARBON_FOOTPRINT",
    "get_hw_constraints_task_data": "HW_CONSTRAINTS",
    "get_hw_provider_task_data": "HW_RESOURCES",
    "get_model_metadata_task_data": "ML_MODEL_METADATA",
    "get_model_provider_task_data": "ML_MODEL",
    "get_user_input_data": _ORCHESTRATOR,
}
for _name, _kind in _GETTERS.items():
    setattr(OrchestratorNode, _name, _getter(_kind))
