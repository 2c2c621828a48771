"""Tasks: what an input may refer to."""

from dataclasses import dataclass

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    DATA_INPUTS,
    MODEL,
    MODELS,
    PUBLIC,
    SCORE,
    by_key,
    by_parent,
    new_key,
    new_task,
    output,
    shared_with,
    tasks,
)
from tests.kit.organization import Organization


@dataclass
class Data:
    """A data manager of org-2 with a sample, and a function that takes them and an optional model."""

    function: pb.Function
    manager: pb.DataManager
    sample: pb.DataSample

    def inputs(self, *more: pb.ComputeTaskInput) -> list[pb.ComputeTaskInput]:
        return [by_key("opener", self.manager), by_key("samples", self.sample), *more]


@pytest.fixture
def data(org: Organization, other: Organization) -> Data:
    manager = other.register_data_manager()
    model = {"model": pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)}
    function = org.register_function(inputs={**DATA_INPUTS, **model})
    return Data(function, manager, other.register_data_sample(manager))


def with_inputs(
    function: pb.Function, plan: pb.ComputePlan, *inputs: pb.ComputeTaskInput, worker: str = ""
) -> pb.RegisterTasksParam:
    return tasks(new_task(function, plan, inputs=inputs, worker=worker))


def model_function(org: Organization, **changes: bool) -> pb.Function:
    """A function with one MODEL input."""
    return org.register_function(inputs={"model": pb.FunctionInput(kind=pb.ASSET_MODEL, **changes)})


def test_each_identifier_is_declared_by_the_function(org: Organization, plan: pb.ComputePlan, data: Data):
    org.send(with_inputs(data.function, plan, *data.inputs()))
    for identifier in ("more", "", "Opener", "opener "):
        undeclared = by_key(identifier, data.sample)
        org.refused(with_inputs(data.function, plan, *data.inputs(undeclared)), "OE0101")


def test_an_identifier_repeats_only_if_multiple(
    org: Organization, other: Organization, plan: pb.ComputePlan, data: Data
):
    second = other.register_data_sample(data.manager)
    task = org.send(with_inputs(data.function, plan, *data.inputs(by_key("samples", second)))).tasks[0]
    assert list(task.inputs) == data.inputs(by_key("samples", second))
    org.refused(with_inputs(data.function, plan, *data.inputs(by_key("opener", data.manager))), "OE0101")
    single = model_function(org)
    parents = [org.register_task(single_source(org), plan) for _ in range(2)]
    org.send(with_inputs(single, plan, by_parent("model", parents[0]), worker="org-1"))
    twice = [by_parent("model", parent) for parent in parents]
    org.refused(with_inputs(single, plan, *twice, worker="org-1"), "OE0101")


def single_source(org: Organization, **outputs: pb.FunctionOutput) -> pb.Function:
    return org.register_function(inputs={}, outputs=outputs or {"model": MODEL})


def test_every_input_that_is_not_optional_is_present(org: Organization, plan: pb.ComputePlan, data: Data):
    org.send(with_inputs(data.function, plan, *data.inputs()))
    opener, sample = data.inputs()
    org.refused(with_inputs(data.function, plan, opener), "OE0101")
    org.refused(with_inputs(data.function, plan, sample, worker="org-2"), "OE0101")
    required = model_function(org, multiple=True)
    org.refused(with_inputs(required, plan, worker="org-1"), "OE0101")
    org.send(with_inputs(model_function(org, optional=True), plan, worker="org-1"))


def test_an_input_refers_to_something(org: Organization, plan: pb.ComputePlan, data: Data):
    opener, sample = data.inputs()
    for empty in (pb.ComputeTaskInput(identifier="samples"), by_key("samples", "")):
        org.refused(with_inputs(data.function, plan, opener, empty), "OE0101")
    nothing = pb.ComputeTaskInput(identifier="model")
    org.refused(with_inputs(data.function, plan, opener, sample, nothing), "OE0101")


def test_data_refers_to_a_key_never_to_a_parent(org: Organization, plan: pb.ComputePlan, data: Data):
    parent = org.register_task(single_source(org), plan)
    opener, sample = data.inputs()
    org.refused(with_inputs(data.function, plan, by_parent("opener", parent), sample, worker="org-2"), "OE0101")
    org.refused(with_inputs(data.function, plan, opener, by_parent("samples", parent)), "OE0101")


def test_data_that_does_not_exist(org: Organization, plan: pb.ComputePlan, data: Data):
    opener, sample = data.inputs()
    for key in (new_key(), data.sample.key):
        request = with_inputs(data.function, plan, by_key("opener", key), sample, worker="org-2")
        org.refused(request, "OE0101", "OE0002")
    for key in (new_key(), data.manager.key):
        org.refused(with_inputs(data.function, plan, opener, by_key("samples", key)), "OE0101", "OE0002")


def test_the_caller_may_process_the_manager(org: Organization, other: Organization, third: Organization):
    shared = other.register_data_manager(new_permissions=shared_with("org-1"))
    inputs = [by_key("opener", shared), by_key("samples", other.register_data_sample(shared))]
    function = org.register_function(inputs=DATA_INPUTS)
    org.send(with_inputs(function, org.register_plan(), *inputs))
    third.refused(with_inputs(function, third.register_plan(), *inputs), "OE0102")


def test_every_sample_has_the_manager_among_its_managers(
    org: Organization, other: Organization, plan: pb.ComputePlan, data: Data
):
    second = other.register_data_manager()
    both = other.register_data_sample(second, data.manager)
    foreign = other.register_data_sample(second)
    org.send(with_inputs(data.function, plan, *data.inputs(by_key("samples", both))))
    org.refused(with_inputs(data.function, plan, *data.inputs(by_key("samples", foreign))), "OE0101")
    opener, _ = data.inputs()
    org.refused(with_inputs(data.function, plan, opener, by_key("samples", foreign)), "OE0101")


def test_a_model_by_key_is_processable_by_the_worker(org: Organization, plan: pb.ComputePlan):
    source = org.register_task(single_source(org), plan, outputs={"model": output(shared_with("org-2"))})
    org.start(source)
    model = org.register_model(source)
    function = model_function(org)
    for worker in ("org-1", "org-2"):
        task = org.send(with_inputs(function, plan, by_key("model", model), worker=worker)).tasks[0]
        assert (task.rank, task.status) == (0, pb.STATUS_WAITING_FOR_EXECUTOR_SLOT)
    org.refused(with_inputs(function, plan, by_key("model", model), worker="org-3"), "OE0102")


def test_a_model_that_does_not_exist(org: Organization, plan: pb.ComputePlan, data: Data):
    function = model_function(org)
    for key in (new_key(), data.manager.key, "no key"):
        org.refused(with_inputs(function, plan, by_key("model", key), worker="org-1"), "OE0101", "OE0002")


def test_the_function_of_the_parent_declares_the_output(org: Organization, plan: pb.ComputePlan):
    parent = org.register_task(single_source(org, model=MODEL, score=SCORE), plan)
    function = model_function(org)
    org.send(with_inputs(function, plan, by_parent("model", parent), worker="org-1"))
    for identifier in ("other", ""):
        undeclared = by_parent("model", parent, identifier)
        org.refused(with_inputs(function, plan, undeclared, worker="org-1"), "OE0101", "OE0106")


def test_the_output_of_the_parent_is_of_the_same_kind(org: Organization, plan: pb.ComputePlan):
    parent = org.register_task(single_source(org, model=MODEL, score=SCORE), plan)
    score = by_parent("model", parent, "score")
    org.refused(with_inputs(model_function(org), plan, score, worker="org-1"), "OE0101", "OE0107")


def test_a_multiple_output_goes_to_a_multiple_input(org: Organization, plan: pb.ComputePlan):
    parent = org.register_task(single_source(org, model=MODELS), plan)
    reference = by_parent("model", parent)
    org.send(with_inputs(model_function(org, multiple=True), plan, reference, worker="org-1"))
    org.refused(with_inputs(model_function(org), plan, reference, worker="org-1"), "OE0101")


@pytest.mark.parametrize("together", [True, False])
def test_the_worker_may_process_the_output_of_the_parent(org: Organization, plan: pb.ComputePlan, together: bool):
    source, function = single_source(org), model_function(org)
    for worker in ("org-1", "org-2", "org-3"):
        parent = new_task(source, plan, outputs={"model": output(shared_with("org-2"))})
        child = new_task(function, plan, inputs=[by_parent("model", parent)], worker=worker)
        if not together:
            org.send(tasks(parent))
        request = tasks(child, parent) if together else tasks(child)
        if worker == "org-3":
            org.refused(request, "OE0102")
        else:
            org.send(request)


def test_the_worker_that_data_gives_may_process_the_output(org: Organization, plan: pb.ComputePlan, data: Data):
    for permissions, refused in ((PUBLIC, False), (shared_with("org-3"), True)):
        parent = org.register_task(single_source(org), plan, outputs={"model": output(permissions)})
        request = with_inputs(data.function, plan, *data.inputs(by_parent("model", parent)))
        if refused:
            org.refused(request, "OE0102")
        else:
            assert org.send(request).tasks[0].worker == "org-2"


def test_a_parent_that_is_done_with_a_disabled_model_is_refused(org: Organization, plan: pb.ComputePlan):
    source, function = single_source(org), model_function(org)
    parent = org.register_task(source, plan, outputs={"model": output(transient=True)})
    reference = by_parent("model", parent)
    child = org.send(with_inputs(function, plan, reference, worker="org-1")).tasks[0]
    org.complete(parent)
    org.complete(child)
    late_child = org.send(with_inputs(function, plan, reference, worker="org-1")).tasks[0]
    org.complete(late_child)
    org.send(pb.DisableOutputParam(compute_task_key=parent.key, identifier="model"))
    org.refused(with_inputs(function, plan, reference, worker="org-1"), "OE0101")
