"""Follows what happens in a deployment, and tells a handler of it, one thing after another."""

import logging
import threading
import traceback
from collections.abc import Callable
from typing import Any

from orchestrator_modules.enums import Status
from orchestrator_modules.front.service import Service, ServiceError, message_of
from orchestrator_modules.kinds import KIND_OF, KINDS
from orchestrator_modules.types import NodeStatus

log = logging.getLogger("orchestrator_modules")

_AGAIN_SECONDS = 1.0
_BEST_FIRST = ("RUNNING", "IDLE", "INITIALIZING", "TERMINATING", "ERROR")


class Watching(threading.Thread):
    """Tells a handler of outputs and of states of kinds; all states once, when it has connected.

    Args:
        service: the orchestrator.
        on_output: called with the id of a kind and its output, which can be read then.
        on_status: called with the id of a kind and a NodeStatus.
    """

    def __init__(
        self, service: Service, on_output: Callable[[int, Any], object], on_status: Callable[[int, Any], object]
    ) -> None:
        super().__init__(name="events", daemon=True)
        self._service = service
        self._on_output = on_output
        self._on_status = on_status
        self._last: str | None = None
        self._replicas: dict[str, dict[str, str]] = {}
        self._told: dict[str, str] = {}
        self._ended = threading.Event()

    def end(self) -> None:
        """Tell nothing any more."""
        self._ended.set()

    def run(self) -> None:
        """Follow the events, after lost connections too; at the end, close the connections."""
        try:
            self._follow()
        finally:
            self._service.close()

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                for id, type_, data in self._service.events(self._last):
                    if self._ended.is_set():
                        return
                    if not type_:
                        self._begin()
                    else:
                        self._take(type_, data)
                        self._last = id
            except ServiceError as error:
                log.info("the events of %s are not heard: %s", self._service.root, error)
            except Exception:
                # Its handler is told of all that follows.
                log.exception("an event of %s was not understood", self._service.root)
            self._ended.wait(_AGAIN_SECONDS)

    def _begin(self) -> None:
        """Take the states of all kinds as they are, since they may have changed before the first event."""
        for node in self._service.call("GET", "/api/nodes")["nodes"]:
            self._replicas[node["kind"]] = {each["name"]: each["status"] for each in node["replicas"]}
            self._tell(node["kind"])

    def _take(self, type_: str, data: Any) -> None:
        if type_ == "node.status" and data["replica"]:
            self._replicas.setdefault(data["kind"], {})[data["replica"]] = data["status"]
            self._tell(data["kind"])
        elif type_ == "stage.output" and data["output"] is not None:
            task = data["task_id"]
            output = self._read(data["kind"], task["problem_id"], task["iteration_id"])
            if output is not None:
                self._call(self._on_output, KIND_OF[data["kind"]].number, output)

    def _read(self, kind: str, problem: int, iteration: int) -> Any:
        return output_of(self._service, kind, problem, iteration)

    def _tell(self, kind: str) -> None:
        states = self._replicas.get(kind, {}).values()
        state = next((each for each in _BEST_FIRST if each in states), "INACTIVE")
        if self._told.get(kind) == state:
            return
        self._told[kind] = state
        status = NodeStatus()
        status.node_name(f"{kind}_NODE")
        status.update(getattr(Status, f"NODE_{state}"))
        self._call(self._on_status, KIND_OF[kind].number, status)

    def _call(self, callback: Callable[[int, Any], object], number: int, value: Any) -> None:
        try:
            callback(number, value)
        except Exception:
            # The next thing is told all the same.
            traceback.print_exc()


def output_of(service: Service, kind: str, problem: int, iteration: int) -> Any:
    """Return the output of a stage, None where it is not there.

    Raises:
        ServiceError: the orchestrator does not answer.
    """
    try:
        shown = service.call("GET", f"/api/problems/{problem}/iterations/{iteration}")
    except ServiceError as error:
        if error.status in (400, 404):
            return None
        raise
    if kind not in {each.name for each in KINDS}:
        return message_of(kind, {**shown["user_input"], "task_id": shown["task_id"]})
    stage = next(each for each in shown["stages"] if each["kind"] == kind)
    if stage["output"] is None:
        return None
    output: Any = message_of(kind, {**stage["output"], "task_id": shown["task_id"]})
    if kind == "ML_MODEL" and stage["output"].get("raw_model_size"):
        output.raw_model(service.raw_model(problem, iteration))
    return output
