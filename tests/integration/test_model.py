"""A hypothesis state machine drives the real server and the model of `model.py` side by side.

After each call, allowed or not, both agree on every status, every permission, and the events that were told.
"""

import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from tests.integration.model import DOING, ENDED, FAILED, TO_DO, Codes, Function, Model, Permission, Plan, Task
from tests.kit.messages import (
    MODEL,
    MODELS,
    PUBLIC,
    SCORE,
    address,
    by_parent,
    function_failure,
    models,
    new_function,
    new_key,
    new_model,
    new_performance,
    new_plan,
    new_task,
    output,
    shared_with,
    task_failure,
    tasks,
)
from tests.kit.organization import ORGANIZATIONS, Organization, refuses, task_action
from tests.kit.servers import serving
from tests.kit.transports import Wire, connect

CHANNELS = 1000
EXAMPLES, STEPS = 20, 50
READ_EVERY = 5
"""Steps between two readings of all rows. The events tell after each step what it changed."""

callers = st.sampled_from(ORGANIZATIONS)
mostly = st.sampled_from([True] * 5 + [False])
seldom = mostly.map(lambda usual: not usual)
shares = st.sampled_from([None, None, ("org-1",), ("org-2", "org-3")])
"""Who may use something besides its owner; None is everyone."""
outputs = st.sampled_from(["score", "model", "models", "score", "model", "models", "other"])
parent_outputs = st.sampled_from(["model"] * 9 + ["models"] * 5 + ["score", "other"])
FUNCTION_STATUS = {
    pb.FUNCTION_ACTION_BUILDING: pb.FUNCTION_STATUS_BUILDING,
    pb.FUNCTION_ACTION_READY: pb.FUNCTION_STATUS_READY,
    pb.FUNCTION_ACTION_CANCELED: pb.FUNCTION_STATUS_CANCELED,
    pb.FUNCTION_ACTION_FAILED: pb.FUNCTION_STATUS_FAILED,
}
SNAPSHOT_WITH_STATUS = {pb.ASSET_COMPUTE_TASK: "compute_task", pb.ASSET_FUNCTION: "function"}


def permission(share: tuple[str, ...] | None, owner: str) -> Permission:
    return share is None, frozenset({*(share or ()), owner})


def asked(share: tuple[str, ...] | None) -> pb.NewPermissions:
    return PUBLIC if share is None else shared_with(*share)


def read(granted: pb.Permission) -> Permission:
    return granted.public, frozenset(granted.authorized_ids)


with_tasks = precondition(lambda self: self.model.tasks)


class Machine(RuleBasedStateMachine):
    """Calls of three organizations in a channel of their own."""

    def __init__(self, wire: Wire, channel: str, outcomes: Counter[tuple[str, str]]) -> None:
        super().__init__()
        self.outcomes = outcomes
        self.steps = 0
        self.model = Model()
        self.network = {name: Organization(wire, name, channel) for name in ORGANIZATIONS}
        for organization in self.network.values():
            organization.send(pb.RegisterOrganizationParam())
        self.reader = self.network["org-3"]
        self.events = self.reader.subscribe(timeout=30)
        assert [event.asset_key for event in islice(self.events, 3)] == list(ORGANIZATIONS)

    def teardown(self) -> None:
        # What was not foreseen would have been told before this.
        self.register_plan("org-1")
        self.agree_on_events()
        self.agree_on_rows()
        self.events.cancel()

    def call(self, caller: str, request: Any, codes: Codes) -> Any:
        """Send a request; it must succeed where the model names no code."""
        self.outcomes[type(request).__name__, "refused" if codes else "allowed"] += 1
        if not codes:
            return self.network[caller].send(request)
        with refuses(*codes):
            self.network[caller].send(request)
        return None

    def a_task(self, data: st.DataObject, *statuses: int) -> Task:
        """Draw a task, mostly one in these states, if there is one."""
        known = list(self.model.tasks.values())
        fitting = [task for task in known if task.status in statuses]
        return data.draw(st.sampled_from(fitting if fitting and data.draw(mostly, "fitting") else known), "task")

    def a_plan(self, data: st.DataObject) -> Plan:
        """Draw a plan, mostly one that goes on, if there is one."""
        known = list(self.model.plans.values())
        live = [plan for plan in known if not plan.terminated]
        return data.draw(st.sampled_from(live if live and data.draw(mostly, "live") else known), "plan")

    def a_function(self, data: st.DataObject) -> Function:
        return data.draw(st.sampled_from(list(self.model.functions.values())), "function")

    @initialize(data=st.data(), ready=mostly, caller=callers)
    def begin(self, data: st.DataObject, ready: bool, caller: str) -> None:
        self.register_plan("org-1")
        self.ask_for_what_cannot_be(caller)
        self.register_function("org-1", None)
        (function,) = self.model.functions.values()
        if ready:
            self.move("org-1", function, pb.FUNCTION_ACTION_BUILDING)
            self.move("org-1", function, pb.FUNCTION_ACTION_READY)
        for _ in range(2):
            self.register_tasks(data, None, 4, None, True, False, False)

    @precondition(lambda self: len(self.model.plans) < 4)
    @rule(caller=callers)
    def register_plan(self, caller: str) -> None:
        plan = Plan(new_key(), caller)
        self.call(caller, new_plan(key=plan.key), self.model.register_plan(plan))

    @precondition(lambda self: len(self.model.functions) < 4)
    @rule(caller=callers, share=shares)
    def register_function(self, caller: str, share: tuple[str, ...] | None) -> None:
        function = Function(new_key(), caller, permission(share, caller))
        request = new_function(
            key=function.key,
            new_permissions=asked(share),
            outputs={"model": MODEL, "models": MODELS, "score": SCORE},
        )
        self.call(caller, request, self.model.register_function(function))

    @rule(
        mine=mostly,
        caller=callers,
        data=st.data(),
        change=st.sampled_from([*FUNCTION_STATUS, *FUNCTION_STATUS, "name", "image", "report"]),
    )
    def change_function(self, mine: bool, caller: str, data: st.DataObject, change: Any) -> None:
        function = self.a_function(data)
        caller = function.owner if mine else caller
        if change in FUNCTION_STATUS:
            self.move(caller, function, change)
        elif change == "report":
            codes = self.model.move_function(caller, function.key, pb.FUNCTION_STATUS_FAILED, report=True)
            self.call(caller, function_failure(function), codes)
        else:
            image = address() if change == "image" else None
            request = pb.UpdateFunctionParam(key=function.key, name="new name", image=image)
            self.call(caller, request, self.model.update_function(caller, function.key, image is not None))

    def move(self, caller: str, function: Function, action: Any) -> None:
        request = pb.ApplyFunctionActionParam(function_key=function.key, action=action)
        self.call(caller, request, self.model.move_function(caller, function.key, FUNCTION_STATUS[action]))

    @precondition(lambda self: len(self.model.tasks) < 25)
    @rule(
        data=st.data(),
        stranger=st.sampled_from([None] * 8 + [*ORGANIZATIONS]),
        amount=st.integers(1, 4),
        share=shares,
        transient=mostly,
        hidden_scores=st.integers(0, 15).map(lambda number: number == 11),
        again=st.integers(0, 15).map(lambda number: number == 11),
    )
    def register_tasks(
        self,
        data: st.DataObject,
        stranger: str | None,
        amount: int,
        share: tuple[str, ...] | None,
        transient: bool,
        hidden_scores: bool,
        again: bool,
    ) -> None:
        plan = self.a_plan(data)
        caller = stranger or plan.owner
        new: list[Task] = []
        for _ in range(amount):
            known = [*self.model.tasks, *(task.key for task in new)]
            above = data.draw(st.lists(st.sampled_from(known), max_size=3), "parents") if known else []
            task = Task(
                new_key(),
                caller,
                data.draw(callers, "worker"),
                plan.key,
                self.a_function(data).key,
                [(parent, data.draw(parent_outputs, "output")) for parent in above],
                {
                    "model": (permission(share, caller), transient),
                    "models": (permission(None, caller), False),
                    "score": (permission(None, caller), False),
                },
            )
            new.append(task)
        if again and self.model.tasks:
            new[0].key = self.a_task(data).key
            for task in new:
                task.inputs = []
        codes = self.model.register_tasks(caller, new, hidden_scores)
        given = {
            "model": output(asked(share), transient),
            "models": output(),
            "score": output(shared_with() if hidden_scores else PUBLIC),
        }
        requests = [
            new_task(
                pb.Function(key=task.function),
                task.plan,
                key=task.key,
                worker=task.worker,
                inputs=[by_parent("models", parent, name) for parent, name in task.inputs],
                outputs=given,
            )
            for task in new
        ]
        shuffled = data.draw(st.permutations(requests), "order")
        answer = self.call(caller, tasks(*shuffled), codes)
        if answer:
            order = [task.key for task in answer.tasks]
            assert sorted(order) == sorted(task.key for task in new)
            for task in new:
                assert all(order.index(parent) < order.index(task.key) for parent in task.parents & set(order))
            self.model.created(order)

    @with_tasks
    @rule(mine=mostly, caller=callers, data=st.data())
    def start(self, mine: bool, caller: str, data: st.DataObject) -> None:
        task = self.a_task(data, TO_DO)
        caller = task.worker if mine else caller
        self.call(caller, task_action(task, pb.TASK_ACTION_EXECUTING), self.model.start(caller, task.key))

    @with_tasks
    @rule(data=st.data(), amount=st.integers(1, 4))
    def run(self, data: st.DataObject, amount: int) -> None:
        """Do all that a worker does for tasks that are To do, so that deep graphs get done."""
        for _ in range(amount):
            self.run_one(data)

    @with_tasks
    @rule(data=st.data())
    def run_one(self, data: st.DataObject) -> None:
        task = self.a_task(data, TO_DO)
        if task.status != TO_DO:
            return
        worker = task.worker
        self.call(worker, task_action(task, pb.TASK_ACTION_EXECUTING), self.model.start(worker, task.key))
        self.make_model(worker, task, "model")
        self.make_performance(worker, task, "score")
        self.call(worker, task_action(task, pb.TASK_ACTION_DONE), self.model.complete(worker, task.key))

    @with_tasks
    @rule(mine=mostly, caller=callers, data=st.data())
    def complete(self, mine: bool, caller: str, data: st.DataObject) -> None:
        task = self.a_task(data, DOING)
        caller = task.worker if mine else caller
        self.call(caller, task_action(task, pb.TASK_ACTION_DONE), self.model.complete(caller, task.key))

    @with_tasks
    @rule(caller=callers, data=st.data(), action=st.sampled_from([pb.TASK_ACTION_CANCELED, pb.TASK_ACTION_FAILED]))
    def stop(self, caller: str, data: st.DataObject, action: Any) -> None:
        task = self.a_task(data)
        target = FAILED if action == pb.TASK_ACTION_FAILED else pb.STATUS_CANCELED
        self.call(caller, task_action(task, action), self.model.stop(caller, task.key, target))

    @with_tasks
    @rule(mine=mostly, caller=callers, data=st.data())
    def report(self, mine: bool, caller: str, data: st.DataObject) -> None:
        task = self.a_task(data, DOING)
        caller = task.worker if mine else caller
        self.call(caller, task_failure(task), self.model.report(caller, task.key))

    @with_tasks
    @rule(mine=mostly, caller=callers, data=st.data(), name=outputs, fitting=mostly)
    def register_result(self, mine: bool, caller: str, data: st.DataObject, name: str, fitting: bool) -> None:
        task = self.a_task(data, DOING)
        caller = task.worker if mine else caller
        if (name == "score") is fitting:
            self.make_performance(caller, task, name)
        else:
            self.make_model(caller, task, name)

    def make_performance(self, caller: str, task: Task, name: str) -> None:
        codes = self.model.register_result(caller, task.key, name, pb.ASSET_PERFORMANCE, f"{task.key}|{name}")
        self.call(caller, new_performance(task, compute_task_output_identifier=name), codes)

    def make_model(self, caller: str, task: Task, name: str) -> None:
        key = new_key()
        codes = self.model.register_result(caller, task.key, name, pb.ASSET_MODEL, key)
        request = models(new_model(task, key=key, compute_task_output_identifier=name))
        answer = self.call(caller, request, codes)
        if answer:
            (made,) = answer.models
            assert made.owner == task.worker
            assert read(made.permissions.process) == read(made.permissions.download) == task.outputs[name][0]

    @rule(caller=callers, data=st.data(), sure=st.booleans())
    def cancel_plan(self, caller: str, data: st.DataObject, sure: bool) -> None:
        plan = self.a_plan(data)
        if sure or caller != plan.owner or plan.terminated:
            request = pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED)
            self.call(caller, request, self.model.cancel_plan(caller, plan.key))

    @with_tasks
    @rule(mine=mostly, caller=callers, data=st.data(), name=outputs)
    def disable(self, mine: bool, caller: str, data: st.DataObject, name: str) -> None:
        task = self.a_task(data, *ENDED)
        loose = [key for key, each in self.model.tasks.items() if self.model.may_disable(each, name)]
        if loose and data.draw(mostly, "fitting"):
            task = self.model.tasks[data.draw(st.sampled_from(loose), "task")]
        caller = task.worker if mine else caller
        request = pb.DisableOutputParam(compute_task_key=task.key, identifier=name)
        self.call(caller, request, self.model.disable(caller, task.key, name))

    @with_tasks
    @rule(caller=callers, data=st.data())
    def read_inputs(self, caller: str, data: st.DataObject) -> None:
        task = self.a_task(data, TO_DO, DOING, FAILED)
        codes, expected = self.model.input_models(task.key)
        answer = self.call(caller, pb.GetTaskInputAssetsParam(compute_task_key=task.key), codes)
        if answer:
            assert [asset.model.key for asset in answer.assets] == expected
            for asset in answer.assets:
                assert asset.model.HasField("address") is (asset.model.key not in self.model.disabled)

    def ask_for_what_cannot_be(self, caller: str) -> None:
        (plan,) = self.model.plans.values()
        self.call(caller, new_plan(key=plan.key), self.model.register_plan(Plan(plan.key, caller)))
        key = new_key()
        for request in (
            task_action(key, pb.TASK_ACTION_EXECUTING),
            pb.ApplyPlanActionParam(key=key, action=pb.PLAN_ACTION_CANCELED),
            pb.ApplyFunctionActionParam(function_key=key, action=pb.FUNCTION_ACTION_BUILDING),
            task_failure(key),
        ):
            self.call(caller, request, {"OE0002"})

    @invariant()
    def agree(self) -> None:
        self.agree_on_events()
        self.steps += 1
        if self.steps % READ_EVERY == 0:
            self.agree_on_rows()

    def agree_on_rows(self) -> None:
        self.agree_on_tasks()
        self.agree_on_functions_and_plans()

    def agree_on_tasks(self) -> None:
        found = {task.key: task for task in self.reader.all(pb.QueryTasksParam(page_size=100))}
        assert {key: task.status for key, task in found.items()} == {
            key: task.status for key, task in self.model.tasks.items()
        }
        for key, expected in self.model.tasks.items():
            task = found[key]
            assert (task.owner, task.worker, task.rank) == (expected.owner, expected.worker, expected.rank)
            assert read(task.logs_permission) == expected.logs
            granted = {name: (read(each.permissions.process), each.transient) for name, each in task.outputs.items()}
            assert granted == expected.outputs
            assert all(each.permissions.process == each.permissions.download for each in task.outputs.values())

    def agree_on_functions_and_plans(self) -> None:
        functions = {function.key: function for function in self.reader.all(pb.QueryFunctionsParam())}
        assert functions.keys() == self.model.functions.keys()
        for key, expected in self.model.functions.items():
            function = functions[key]
            assert (function.status, bool(function.image.checksum)) == (expected.status, expected.image)
            assert read(function.permissions.process) == read(function.permissions.download) == expected.process
        plans = {plan.key: plan for plan in self.reader.all(pb.QueryPlansParam())}
        assert {
            key: (plan.HasField("cancelation_date"), plan.HasField("failure_date")) for key, plan in plans.items()
        } == {key: (plan.canceled, plan.failed) for key, plan in self.model.plans.items()}
        for key in self.model.plans:
            assert self.reader.send(pb.IsPlanRunningParam(key=key)).is_running is self.model.is_running(key)

    def agree_on_events(self) -> None:
        """Check the events told since the last call, as a subscriber hears them."""
        groups, self.model.told = self.model.told, []
        for group in groups:
            events = list(islice(self.events, len(group)))
            told = [
                (
                    event.asset_kind,
                    event.asset_key,
                    event.event_kind,
                    getattr(event, SNAPSHOT_WITH_STATUS[event.asset_kind]).status
                    if event.asset_kind in SNAPSHOT_WITH_STATUS
                    else 0,
                )
                for event in events
            ]
            if group[0][2] != pb.EVENT_ASSET_DISABLED:
                assert told[0] == group[0]
            assert sorted(told) == sorted(group)
            assert len({event.timestamp.ToNanoseconds() for event in events}) == 1


@pytest.fixture(scope="module")
def wire(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    url = postgres.create_database(f"test_{uuid.uuid4().hex}")
    channels = {f"channel-{number}": list(ORGANIZATIONS) for number in range(CHANNELS)}
    with serving(tmp_path_factory.mktemp("server"), url, channels) as address, connect(address) as transport:
        yield Wire(transport)


# Many thousands of calls, beside whatever else the machine does.
@pytest.mark.timeout(600)
def test_the_server_agrees_with_the_model(wire: Wire):
    numbers = count()
    outcomes: Counter[tuple[str, str]] = Counter()
    run_state_machine_as_test(
        lambda: Machine(wire, f"channel-{next(numbers)}", outcomes),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # Both ways of each call were tried, and often enough to mean something.
    never_refused = {("NewFunction", "refused")}
    both = {(name, way) for name, _ in outcomes for way in ("allowed", "refused")}
    assert both - set(outcomes) == never_refused, outcomes
    assert len({name for name, _ in outcomes}) == 12
