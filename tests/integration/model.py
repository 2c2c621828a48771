"""A small model of a network, in dictionaries, written from the contract: what each call must do, or be refused for.

A call returns the codes it may be refused with, none if it succeeds; then the model has changed, and `told` has grown
by a group of events: the first is the cause, the others may come in any order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator import protos as pb

WAITING_FOR_BUILD, BUILDING = pb.STATUS_WAITING_FOR_BUILDER_SLOT, pb.STATUS_BUILDING
WAITING, TO_DO, DOING = pb.STATUS_WAITING_FOR_PARENT_TASKS, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING
DONE, CANCELED, FAILED = pb.STATUS_DONE, pb.STATUS_CANCELED, pb.STATUS_FAILED
ENDED = {DONE, CANCELED, FAILED}
CREATED, UPDATED, DISABLED = pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_UPDATED, pb.EVENT_ASSET_DISABLED

FUNCTION_MOVES = {
    pb.FUNCTION_STATUS_WAITING: {pb.FUNCTION_STATUS_BUILDING, pb.FUNCTION_STATUS_CANCELED},
    pb.FUNCTION_STATUS_BUILDING: {
        pb.FUNCTION_STATUS_READY,
        pb.FUNCTION_STATUS_FAILED,
        pb.FUNCTION_STATUS_CANCELED,
    },
}
OUTPUTS = {"model": (pb.ASSET_MODEL, False), "models": (pb.ASSET_MODEL, True), "score": (pb.ASSET_PERFORMANCE, False)}
"""The outputs of every function: kind, and whether they are multiple."""

Codes = set[str]
Permission = tuple[bool, frozenset[str]]
Told = tuple[int, str, int, int]
"""Asset kind, asset key, event kind, and the status in the snapshot (0 where there is none)."""


def may(permission: Permission, organization: str) -> bool:
    return permission[0] or organization in permission[1]


@dataclass
class Function:
    key: str
    owner: str
    process: Permission
    status: int = pb.FUNCTION_STATUS_WAITING
    image: bool = False
    reported: bool = False


@dataclass
class Plan:
    key: str
    owner: str
    canceled: bool = False
    failed: bool = False

    @property
    def terminated(self) -> bool:
        return self.canceled or self.failed


@dataclass
class Task:
    key: str
    owner: str
    worker: str
    plan: str
    function: str
    inputs: list[tuple[str, str]]
    outputs: dict[str, tuple[Permission, bool]]
    status: int = 0
    rank: int = 0
    logs: Permission = (False, frozenset())
    made: dict[str, list[str]] = field(default_factory=dict)
    reported: bool = False

    @property
    def parents(self) -> set[str]:
        return {parent for parent, _ in self.inputs}


class Model:
    """All there is in one channel."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self.plans: dict[str, Plan] = {}
        self.tasks: dict[str, Task] = {}
        self.disabled: set[str] = set()
        self.told: list[list[Told]] = []

    def register_function(self, function: Function) -> Codes:
        self.functions[function.key] = function
        self._tell((pb.ASSET_FUNCTION, function.key, CREATED, function.status))
        return set()

    def update_function(self, caller: str, key: str, image: bool) -> Codes:
        function = self.functions[key]
        image = function.image or image
        codes = self._unless(caller == function.owner, "OE0102")
        codes |= self._unless(image or function.status != pb.FUNCTION_STATUS_READY, "OE0101")
        if not codes:
            function.image = image
            self._tell((pb.ASSET_FUNCTION, key, UPDATED, function.status))
        return codes

    def move_function(self, caller: str, key: str, target: int, report: bool = False) -> Codes:
        function = self.functions[key]
        codes = self._unless(caller == function.owner, "OE0102")
        codes |= self._unless(target in FUNCTION_MOVES.get(function.status, ()), "OE0104")
        codes |= self._unless(not (report and function.reported), "OE0006")
        if codes:
            return codes
        function.status = target
        told = [(pb.ASSET_FUNCTION, key, UPDATED, target)]
        if report:
            function.reported = True
            told.insert(0, (pb.ASSET_FAILURE_REPORT, key, CREATED, 0))
        for task in self.tasks.values():
            if task.function != key:
                continue
            if target == pb.FUNCTION_STATUS_BUILDING and task.status == WAITING_FOR_BUILD:
                told += self._move(task, BUILDING)
            elif target == pb.FUNCTION_STATUS_READY and task.status == BUILDING:
                told += self._move(task, TO_DO if self._parents_done(task) else WAITING)
            elif target == pb.FUNCTION_STATUS_CANCELED and task.status == BUILDING:
                told += self._move(task, CANCELED)
            elif target == pb.FUNCTION_STATUS_FAILED and task.status == BUILDING:
                told += self._move(task, FAILED)
        self._tell(*told)
        return codes

    def register_plan(self, plan: Plan) -> Codes:
        if plan.key in self.plans:
            return {"OE0006"}
        self.plans[plan.key] = plan
        self._tell((pb.ASSET_COMPUTE_PLAN, plan.key, CREATED, 0))
        return set()

    def cancel_plan(self, caller: str, key: str) -> Codes:
        plan = self.plans[key]
        codes = self._unless(caller == plan.owner, "OE0102") | self._unless(not plan.terminated, "OE0109")
        if not codes:
            plan.canceled = True
            told = [(pb.ASSET_COMPUTE_PLAN, key, UPDATED, 0)]
            for task in self.tasks.values():
                if task.plan == key and task.status not in ENDED:
                    told += self._move(task, CANCELED)
            self._tell(*told)
        return codes

    def is_running(self, key: str) -> bool:
        statuses = {task.status for task in self.tasks.values() if task.plan == key}
        return not self.plans[key].terminated and not statuses & {CANCELED, FAILED} and bool(statuses - {DONE})

    def register_tasks(self, caller: str, new: list[Task], hidden_scores: bool) -> Codes:
        """Register tasks, given parents before children; the events come in the order of the answer, see `created`."""
        codes = self._unless(not hidden_scores, "OE0101")
        known = dict(self.tasks)
        for task in new:
            codes |= self._unless(task.key not in known, "OE0006")
            plan, function = self.plans[task.plan], self.functions[task.function]
            codes |= self._unless(plan.owner == caller, "OE0102")
            codes |= self._unless(not plan.canceled, "OE0109")
            codes |= self._unless(may(function.process, caller), "OE0102")
            for key, output in task.inputs:
                parent = known[key]
                codes |= self._unless(OUTPUTS.get(output, (0, False))[0] == pb.ASSET_MODEL, "OE0101")
                codes |= self._unless(output not in OUTPUTS or may(parent.outputs[output][0], task.worker), "OE0102")
                lost = self.disabled & {model for models in parent.made.values() for model in models}
                codes |= self._unless(parent.status != DONE or not lost, "OE0101")
            above = [known[key] for key in task.parents]
            task.status = self._first_status(function, above)
            task.rank = max((parent.rank + 1 for parent in above), default=0)
            task.logs = (False, frozenset({caller}).union(*(parent.logs[1] for parent in above)))
            known[task.key] = task
        if not codes:
            self.tasks = known
        return codes

    def created(self, keys: Iterable[str]) -> None:
        """Tell of new tasks; their order is all cause."""
        for key in keys:
            self._tell((pb.ASSET_COMPUTE_TASK, key, CREATED, self.tasks[key].status))

    def start(self, caller: str, key: str) -> Codes:
        task = self.tasks[key]
        codes = self._unless(caller == task.worker, "OE0102") | self._unless(task.status == TO_DO, "OE0104")
        if not codes:
            self._tell(*self._move(task, DOING))
        return codes

    def complete(self, caller: str, key: str) -> Codes:
        task = self.tasks[key]
        codes = self._unless(caller == task.worker, "OE0102") | self._unless(task.status == DOING, "OE0104")
        if not codes:
            told = self._move(task, DONE)
            for child in self.children(key):
                if child.status == WAITING and self._parents_done(child):
                    told += self._move(child, TO_DO)
            self._tell(*told)
        return codes

    def stop(self, caller: str, key: str, target: int) -> Codes:
        task = self.tasks[key]
        codes = self._unless(caller in (task.owner, task.worker), "OE0102")
        codes |= self._unless(task.status not in ENDED, "OE0104")
        if not codes:
            self._tell(*self._move(task, target))
        return codes

    def report(self, caller: str, key: str) -> Codes:
        task = self.tasks[key]
        codes = self._unless(caller == task.worker, "OE0102") | self._unless(task.status == DOING, "OE0003")
        codes |= self._unless(not task.reported, "OE0006")
        if not codes:
            task.reported = True
            self._tell((pb.ASSET_FAILURE_REPORT, key, CREATED, 0), *self._move(task, FAILED))
        return codes

    def register_result(self, caller: str, key: str, output: str, kind: int, asset: str) -> Codes:
        task = self.tasks[key]
        codes = self._unless(caller == task.worker, "OE0102") | self._unless(task.status == DOING, "OE0003")
        codes |= self._unless(output in OUTPUTS, "OE0106")
        declared, multiple = OUTPUTS.get(output, (kind, False))
        codes |= self._unless(declared == kind, "OE0107")
        codes |= self._unless(multiple or not task.made.get(output), "OE0006")
        if not codes:
            task.made.setdefault(output, []).append(asset)
            self._tell((kind, asset, CREATED, 0), (pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET, key, CREATED, 0))
        return codes

    def disable(self, caller: str, key: str, output: str) -> Codes:
        task = self.tasks[key]
        codes = self._unless(caller == task.worker, "OE0102") | self._unless(output in OUTPUTS, "OE0106")
        codes |= self._unless(self.may_disable(task, output), "OE0108")
        if not codes:
            models = task.made[output]
            self.disabled.update(models)
            self._tell(*((pb.ASSET_MODEL, model, DISABLED, 0) for model in models))
        return codes

    def may_disable(self, task: Task, output: str) -> bool:
        statuses = {child.status for child in self.children(task.key)}
        transient = output in task.outputs and task.outputs[output][1]
        kept = set(task.made.get(output, [])) - self.disabled
        return task.status in ENDED and transient and bool(kept) and bool(statuses) and statuses <= ENDED

    def input_models(self, key: str) -> tuple[Codes, list[str]]:
        task = self.tasks[key]
        codes = self._unless(task.status in (TO_DO, DOING, FAILED), "OE0003")
        return codes, [model for parent, output in task.inputs for model in self.tasks[parent].made.get(output, [])]

    def children(self, key: str) -> list[Task]:
        return [task for task in self.tasks.values() if key in task.parents]

    def _first_status(self, function: Function, parents: list[Task]) -> int:
        statuses = {parent.status for parent in parents}
        if statuses & {FAILED, CANCELED}:
            return CANCELED
        return {
            pb.FUNCTION_STATUS_READY: WAITING if statuses - {DONE} else TO_DO,
            pb.FUNCTION_STATUS_WAITING: WAITING_FOR_BUILD,
            pb.FUNCTION_STATUS_BUILDING: BUILDING,
            pb.FUNCTION_STATUS_FAILED: FAILED,
            pb.FUNCTION_STATUS_CANCELED: CANCELED,
        }[function.status]

    def _parents_done(self, task: Task) -> bool:
        return all(self.tasks[parent].status == DONE for parent in task.parents)

    def _move(self, task: Task, target: int) -> list[Told]:
        task.status = target
        told = [(pb.ASSET_COMPUTE_TASK, task.key, UPDATED, target)]
        plan = self.plans[task.plan]
        if target == FAILED and not plan.terminated:
            plan.failed = True
            told.append((pb.ASSET_COMPUTE_PLAN, plan.key, UPDATED, 0))
        return told

    def _tell(self, *told: Told) -> None:
        self.told.append(list(told))

    @staticmethod
    def _unless(condition: bool, code: str) -> Codes:
        return set() if condition else {code}
