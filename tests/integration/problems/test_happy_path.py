"""A task goes through six stages, and its outputs ask for more."""

import json

from orchestrator import protos as pb
from orchestrator.core.kinds import STAGE_OUTPUT, STAGE_STATUS
from orchestrator.problems import graph, iterations, submitting
from tests.kit.deployment import APP, CARBON, METADATA, MODEL, RESOURCES, Deployment, Module, new, task


def test_six_stages_one_after_another(deployment: Deployment):
    modules = deployment.modules()
    submitted = deployment.submit(modality="nlp", inputs=["text"])
    assert submitted.task_id == task(1, 1)
    assert {stage.state for stage in deployment.get(submitted.task_id).stages} == {pb.STAGE_WAITING}
    deployment.finish(modules)
    found = deployment.get(submitted.task_id)
    assert found.state == pb.STAGE_SUCCEEDED
    assert [stage.state for stage in found.stages] == [pb.STAGE_SUCCEEDED] * 6
    assert [stage.attempt for stage in found.stages] == [1] * 6
    assert [stage.replica for stage in found.stages] == [f"m{kind}" for kind in range(6)]
    assert all(stage.HasField("queued_at") and stage.HasField("ended_at") for stage in found.stages)
    told = deployment.events(STAGE_STATUS, pb.StageStatusEvent)
    assert [event.state for event in told if event.kind == CARBON] == [pb.STAGE_RUNNING, pb.STAGE_SUCCEEDED]
    assert len(deployment.events(STAGE_OUTPUT, pb.StageOutputEvent)) == 6


def test_inputs_are_those_of_the_callback(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit(modality="nlp").task_id
    modules[APP].run(pb.AppRequirements(app_requirements=["fast"], task_id=task(9, 9)))
    claimed = modules[METADATA].take()
    assert claimed is not None
    (user_input,) = modules[METADATA].inputs(claimed.attempt)
    assert (user_input.modality, user_input.task_id) == ("nlp", task_id)
    extra = json.loads(user_input.extra_data)
    assert extra["num_outputs"] == 1
    assert extra["hf_token"] is None
    assert extra["model_family"] == "Transformers"
    modules[METADATA].complete(claimed.attempt, pb.MLModelMetadata(ml_model_metadata=["goal"]))
    modules[2].run(pb.HWConstraints(hardware_required=["gpu"]))
    claimed = modules[MODEL].take()
    assert claimed is not None
    given = modules[MODEL].inputs(claimed.attempt)
    assert [type(each).__name__ for each in given] == [
        "MLModelMetadata",
        "AppRequirements",
        "HWConstraints",
        "MLModel",
        "HWResource",
        "CO2Footprint",
    ]
    assert all(each.task_id == task_id for each in given)
    assert given[1].app_requirements == ["fast"]
    assert given[3] == pb.MLModel(task_id=task_id)
    work = pb.StageWork()
    assert claimed.work.Unpack(work)
    assert (work.task_id, work.run, work.kind) == (task_id, 1, MODEL)


def test_the_baselines_are_those_of_the_parent(deployment: Deployment):
    modules = deployment.modules()
    first = deployment.submit().task_id
    raw = bytes(range(256)) * 20_000
    deployment.finish(modules, ml_model=pb.MLModel(model="a", raw_model=raw))
    second = deployment.iterate(first).task_id
    deployment.finish(modules, ml_model=pb.MLModel(model="b"))
    third = deployment.iterate(first, modality="cv").task_id
    assert (second, third) == (task(1, 2), task(1, 3))
    assert deployment.get(third).parent == 1
    for kind in (APP, 2, METADATA):
        modules[kind].run()
    claimed = modules[MODEL].take()
    assert claimed is not None
    baseline = modules[MODEL].inputs(claimed.attempt)[3]
    assert (baseline.model, baseline.raw_model, baseline.task_id) == ("a", raw, third)


def test_a_module_that_comes_late_gets_what_waits_with_its_baseline_and_nothing_that_has_ended(deployment: Deployment):
    modules = deployment.modules()
    first = deployment.submit().task_id
    deployment.finish(modules, ml_model=pb.MLModel(model="of the parent"))
    assert deployment.state(first) == "SUCCEEDED"
    modules[MODEL].phase = pb.PHASE_ENDED
    modules[MODEL].report()
    second = deployment.iterate(first).task_id
    for kind in (APP, 2, METADATA):
        modules[kind].run()
    late = Module(deployment, MODEL, "late")
    claimed = late.take()
    assert claimed is not None
    baseline = late.inputs(claimed.attempt)[3]
    assert (baseline.model, baseline.task_id) == ("of the parent", second)
    late.complete(claimed.attempt)
    assert late.take() is None


def test_an_output_asks_for_the_next_iteration(deployment: Deployment):
    modules = deployment.modules()
    deployment.submit({"num_outputs": 3}, inputs=["a", "b"])
    count = iter((3, 2, 1))

    def carbon() -> pb.CO2Footprint:
        return pb.CO2Footprint(extra_data=json.dumps({"num_outputs": next(count), "model_restrains": ["m"]}).encode())

    for iteration in (1, 2, 3):
        for kind in graph.in_order():
            output = {
                CARBON: carbon,
                METADATA: lambda: pb.MLModelMetadata(ml_model_metadata=["find", "words"]),
            }.get(kind, graph.KINDS[kind].output)()
            modules[kind].run(output)
        found = deployment.get(task(1, iteration))
        assert found.state == pb.STAGE_SUCCEEDED
        assert found.next_task_id == (task(1, iteration + 1) if iteration < 3 else pb.TaskId())
    last = deployment.get(task(1, 3))
    extra = json.loads(last.user_input.extra_data)
    assert (extra["num_outputs"], extra["goal"], extra["model_restrains"]) == (1, "find, words", ["m"])
    assert (extra["previous_problem_id"], last.user_input.previous_iteration) == (1, 2)
    assert list(last.user_input.inputs) == ["a", "b"]
    assert deployment.ask(iterations.latest) == task(1, 3)
    assert not any(deployment.due(kind) for kind in graph.KINDS)


def test_prepare_and_start(deployment: Deployment):
    module = Module(deployment, APP)
    prepared = deployment.submit(start=False)
    assert deployment.due(APP) == []
    assert deployment.ask(iterations.latest) is None
    for _ in range(2):
        assert deployment.ask(submitting.start, prepared.task_id).task_id == prepared.task_id
    assert len(deployment.due(APP)) == 1
    module.run()


def test_what_was_prepared_is_filled_in_when_it_starts(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit({"goal": "a"}, start=False, modality="nlp", problem_definition="b").task_id
    filled = new(modality="cv", inputs=["x"], previous_iteration=7)
    for _ in range(2):
        started = deployment.ask(submitting.start, task_id, filled)
        filled = new(modality="too late")
    claimed = module.take()
    assert claimed is not None
    (user_input,) = module.inputs(claimed.attempt)
    assert (user_input.modality, list(user_input.inputs), user_input.problem_definition) == ("cv", ["x"], "b")
    assert json.loads(user_input.extra_data)["goal"] == "a"
    assert user_input.previous_iteration == 0
    assert started.user_input == user_input


def test_the_same_key_is_the_same_task(deployment: Deployment):
    first = deployment.ask(submitting.submit, new(key="a"))
    again = deployment.ask(submitting.submit, new(key="a"))
    assert (first.task_id, first.existed, again.task_id, again.existed) == (task(1, 1), False, task(1, 1), True)
    assert deployment.ask(submitting.submit, new(key="b")).task_id == task(2, 1)


def test_a_module_shows_what_it_does(deployment: Deployment):
    modules = deployment.modules()
    assert [each.state for each in deployment.kinds().values()] == [pb.MODULE_IDLE] * 6
    task_id = deployment.submit().task_id
    claimed = modules[APP].take()
    assert claimed is not None
    kind = deployment.kinds()[APP]
    assert (kind.state, kind.running, kind.replicas[0].running[0].task_id) == (pb.MODULE_RUNNING, 1, task_id)
    modules[APP].complete(claimed.attempt)
    assert deployment.kinds()[APP].state == pb.MODULE_IDLE
    assert deployment.kinds()[RESOURCES].waiting == 0
