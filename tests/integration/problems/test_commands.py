"""Control commands, with what acknowledges them (section 1.7 of the contract)."""

from uuid import uuid4

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, ConflictError, IncompatibleStatusError, NotFoundError
from orchestrator.core.kinds import MODULE_COMMAND
from orchestrator.problems import cancelling, commands
from orchestrator.problems.errors import StateError
from orchestrator.problems.sweeps import open_commands
from tests.kit.deployment import APP, CARBON, CONSTRAINTS, METADATA, MODEL, RESOURCES, Deployment, Module, task
from tests.kit.member import after

WORDS = {pb.COMMAND_ACCEPTED: "ACCEPTED", pb.COMMAND_APPLIED: "APPLIED", pb.COMMAND_FAILED: "FAILED"}


def give(deployment: Deployment, node: int = 0, target: str = "", command_id: str | None = None, **more):
    command = pb.Command(cmd_node=node, target_node=target, **more)
    record, _ = deployment.ask(commands.give, command, command_id)
    return record


def to_task(deployment: Deployment, command: int, task_id: pb.TaskId, target: str = "") -> pb.CommandRecord:
    return give(deployment, target=target, cmd_task=command, task_id=task_id)


def shown(deployment: Deployment, record: pb.CommandRecord) -> tuple[str, dict[str, str]]:
    found = deployment.ask(commands.get, record.command_id)
    return WORDS[found.state], {target.node: target.error or WORDS[target.state] for target in found.targets}


def obey(module: Module, error: str = "") -> list[int]:
    """Apply what a module is told."""
    told = module.report().commands
    module.report(outcomes=[pb.CommandOutcome(command_id=each.command_id, error=error) for each in told])
    return [each.command for each in told]


def test_a_kind_is_stopped_and_started(deployment: Deployment):
    first = Module(deployment, APP, "first")
    key = deployment.submit() and deployment.due(APP)[0]
    record = give(deployment, pb.STOP_NODE, "APP_REQUIREMENTS_NODE", source_node="a test")
    assert shown(deployment, record) == ("ACCEPTED", {"APP_REQUIREMENTS/first": "ACCEPTED"})
    assert deployment.kinds()[APP].state == pb.MODULE_INACTIVE
    assert deployment.kinds()[APP].replicas[0].present
    with pytest.raises(IncompatibleStatusError, match="stopped"):
        first.claim(key)
    assert obey(first) == [pb.STOP_NODE]
    assert shown(deployment, record) == ("APPLIED", {"APP_REQUIREMENTS/first": "APPLIED"})
    found = deployment.ask(commands.get, record.command_id)
    assert found.targets[0].HasField("delivered_at")
    assert (found.organization, found.command.source_node) == ("org-1", "a test")
    late = Module(deployment, APP, "late")
    assert not late.told.accepting
    with pytest.raises(IncompatibleStatusError, match="stopped"):
        late.claim(key)
    assert deployment.get(task(1, 1)).stages[APP].waiting_for == "its kind is stopped"
    record = give(deployment, pb.START_NODE, "0")
    assert late.report().accepting
    late.complete(late.claim(key).attempt)
    assert obey(first) == obey(late) == [pb.START_NODE]
    assert shown(deployment, record)[0] == "APPLIED"
    assert obey(first) == []
    told = deployment.events(MODULE_COMMAND, pb.CommandEvent)
    assert [(event.target, event.state) for event in told if event.command_id == record.command_id] == [
        ("", pb.COMMAND_ACCEPTED),
        ("APP_REQUIREMENTS/first", pb.COMMAND_APPLIED),
        ("APP_REQUIREMENTS/late", pb.COMMAND_APPLIED),
        ("", pb.COMMAND_APPLIED),
    ]


def test_a_stopped_module_finishes_what_it_runs(deployment: Deployment):
    module, other = Module(deployment, APP, "one"), Module(deployment, APP, "two")
    deployment.submit()
    claimed = module.take()
    assert claimed is not None
    give(deployment, pb.STOP_NODE, "APP_REQUIREMENTS/one")
    states = {each.name: (each.state, each.accepting) for each in deployment.kinds()[APP].replicas}
    assert states == {"one": (pb.MODULE_RUNNING, False), "two": (pb.MODULE_IDLE, True)}
    module.complete(claimed.attempt)
    assert deployment.kinds()[APP].replicas[0].state == pb.MODULE_INACTIVE
    deployment.submit()
    other.run()


def test_one_of_a_stopped_kind_is_started(deployment: Deployment):
    Module(deployment, APP, "one"), Module(deployment, APP, "two")
    give(deployment, pb.STOP_NODE, "APP_REQUIREMENTS")
    give(deployment, pb.START_NODE, "APP_REQUIREMENTS/two")
    assert [each.accepting for each in deployment.kinds()[APP].replicas] == [False, True]


def test_reset_gives_back_what_runs_and_counts_no_failure(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    claimed = module.take()
    assert claimed is not None
    record = give(deployment, pb.RESET_NODE, "APP_REQUIREMENTS")
    assert deployment.kinds()[APP].state == pb.MODULE_INITIALIZING
    assert deployment.get(task_id).stages[APP].state == pb.STAGE_WAITING
    with pytest.raises(IncompatibleStatusError):
        module.complete(claimed.attempt)
    with pytest.raises(IncompatibleStatusError, match="afresh"):
        module.claim(deployment.due(APP)[0])
    module.register()
    assert obey(module) == [pb.RESET_NODE]
    assert shown(deployment, record)[0] == "APPLIED"
    assert deployment.kinds()[APP].state == pb.MODULE_IDLE
    again = module.take()
    assert again is not None
    assert again.attempt.number == 2
    for _ in range(2):
        module.lose(again.attempt)
        deployment.change("UPDATE task_states SET due_at = NULL")
        again = module.take()
        assert again is not None
    assert again.attempt.number == 4


def test_a_module_that_is_told_to_end(deployment: Deployment):
    module = Module(deployment, APP)
    record = give(deployment, pb.TERMINATE_NODE, "ALL")
    assert deployment.kinds()[APP].state == pb.MODULE_TERMINATING
    deployment.submit()
    with pytest.raises(IncompatibleStatusError, match="about to end"):
        module.take()
    (told,) = module.report().commands
    module.phase = pb.PHASE_ENDED
    module.report(outcomes=[pb.CommandOutcome(command_id=told.command_id)])
    assert shown(deployment, record) == ("APPLIED", {"APP_REQUIREMENTS/m0": "APPLIED"})
    assert deployment.kinds()[APP].state == pb.MODULE_INACTIVE
    assert not deployment.kinds()[APP].replicas[0].present


def test_a_command_that_nobody_takes(deployment: Deployment):
    record = give(deployment, pb.START_NODE, "ML_MODEL")
    assert shown(deployment, record) == ("ACCEPTED", {"ML_MODEL": "ACCEPTED"})
    assert open_commands.settle(deployment.database, after(50), 10) == 0
    assert open_commands.settle(deployment.database, after(61), 10) == 1
    assert shown(deployment, record) == ("FAILED", {"ML_MODEL": "not present"})
    taken = give(deployment, pb.START_NODE, "ML_MODEL")
    assert obey(Module(deployment, MODEL, "late")) == [pb.START_NODE]
    assert shown(deployment, taken) == ("APPLIED", {"ML_MODEL/late": "APPLIED"})


def test_a_module_that_goes_before_it_has_applied(deployment: Deployment):
    module = Module(deployment, APP)
    stop, end = (give(deployment, command, "APP_REQUIREMENTS") for command in (pb.STOP_NODE, pb.TERMINATE_NODE))
    module.report()
    deployment.silence("m0", 100)
    assert open_commands.settle(deployment.database, after(61), 10) == 2
    assert shown(deployment, stop) == ("FAILED", {"APP_REQUIREMENTS/m0": "it went away before it had applied it"})
    assert shown(deployment, end)[0] == "APPLIED"


def test_the_same_id_is_the_same_command(deployment: Deployment):
    id_ = str(uuid4())
    command = pb.Command(cmd_node=pb.STOP_NODE, target_node="ML_MODEL")
    first, repeated = deployment.ask(commands.give, command, id_)
    assert not repeated
    assert deployment.ask(commands.give, command, id_) == (first, True)
    with pytest.raises(ConflictError, match="another command"):
        deployment.ask(commands.give, pb.Command(cmd_node=pb.START_NODE, target_node="ML_MODEL"), id_)
    assert [each.command_id for each in deployment.ask(commands.newest, 10)] == [id_]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ({}, BadRequestError),
        ({"target_node": "ML_MODEL"}, BadRequestError),
        ({"cmd_node": 1}, BadRequestError),
        ({"cmd_node": 9, "target_node": "ML_MODEL"}, BadRequestError),
        ({"cmd_node": 1, "target_node": "MODEL"}, NotFoundError),
        ({"cmd_node": 1, "target_node": "ML_MODEL/nobody"}, NotFoundError),
        ({"cmd_node": 1, "target_node": "ORCHESTRATOR"}, NotFoundError),
        ({"cmd_task": 1}, BadRequestError),
        ({"cmd_task": 1, "task_id": task(7, 1)}, NotFoundError),
        ({"cmd_task": 1, "task_id": task(0, 0)}, NotFoundError),
        ({"cmd_task": 2, "task_id": task(1, 1), "target_node": "nobody"}, NotFoundError),
    ],
)
def test_what_cannot_be_done_is_not_recorded(deployment: Deployment, command: dict, error: type[Exception]):
    deployment.submit()
    with pytest.raises(error):
        deployment.ask(commands.give, pb.Command(**command))
    assert deployment.ask(commands.newest, 10) == []


def test_a_task_is_stopped(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit({"num_outputs": 3}).task_id
    claimed = module.take()
    assert claimed is not None
    record = to_task(deployment, pb.STOP_TASK, task_id)
    assert shown(deployment, record) == ("ACCEPTED", {"ORCHESTRATOR": "ACCEPTED"})
    assert deployment.state(task_id) == "STOPPED"
    assert deployment.states(task_id) == ["STOPPED"] * 6
    with pytest.raises(IncompatibleStatusError):
        module.complete(claimed.attempt)
    module.report()
    assert module.stopped
    module.report()
    assert shown(deployment, record) == ("APPLIED", {"ORCHESTRATOR": "APPLIED"})
    assert deployment.kinds()[APP].state == pb.MODULE_IDLE
    assert deployment.ask(cancelling.cancel, task_id).command_id == record.command_id
    assert to_task(deployment, pb.STOP_TASK, task_id).state == pb.COMMAND_APPLIED


def test_a_stop_whose_module_is_gone(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    module.take()
    record = to_task(deployment, pb.STOP_TASK, task_id)
    assert open_commands.settle(deployment.database, after(1), 10) == 0
    deployment.silence("m0")
    assert open_commands.settle(deployment.database, after(1), 10) == 1
    assert shown(deployment, record)[0] == "APPLIED"


def test_a_stop_that_its_module_never_acknowledges(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    module.take()
    record = to_task(deployment, pb.STOP_TASK, task_id)
    deployment.change("UPDATE modules SET heard_at = now() + interval '90 s'")
    assert open_commands.settle(deployment.database, after(70), 10) == 0
    assert open_commands.settle(deployment.database, after(81), 10) == 1
    state, shown_targets = shown(deployment, record)
    assert (state, "has not said" in shown_targets["ORCHESTRATOR"]) == ("FAILED", True)


def test_cancel(deployment: Deployment):
    assert deployment.ask(cancelling.cancel) is None
    modules = deployment.modules()
    done = deployment.submit().task_id
    deployment.finish(modules)
    assert deployment.ask(cancelling.cancel) is None
    assert deployment.ask(cancelling.cancel, done) is None
    assert deployment.ask(cancelling.cancel, task(9, 9)) is None
    older, newer = deployment.submit().task_id, deployment.submit().task_id
    record = deployment.ask(cancelling.cancel)
    assert (record.command.task_id, record.state) == (newer, pb.COMMAND_APPLIED)
    assert (deployment.state(newer), deployment.state(older)) == ("STOPPED", "WAITING")
    assert deployment.ask(cancelling.cancel, newer).command_id == record.command_id
    assert deployment.ask(cancelling.cancel).command.task_id == older
    assert deployment.ask(cancelling.cancel).command.task_id == newer


def test_a_task_runs_again(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    deployment.finish(modules, ml_model=pb.MLModel(model="first"))
    record = to_task(deployment, pb.RESET_TASK, task_id)
    assert record.state == pb.COMMAND_APPLIED
    found = deployment.get(task_id)
    assert (found.run, found.state, found.HasField("ended_at")) == (2, pb.STAGE_WAITING, False)
    assert deployment.output(task_id, MODEL) is None
    deployment.finish(modules, ml_model=pb.MLModel(model="second"))
    assert deployment.output(task_id, MODEL).model == "second"
    assert deployment.state(task_id) == "SUCCEEDED"


def test_a_part_of_a_task_runs_again(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    deployment.finish(modules, app_requirements=pb.AppRequirements(app_requirements=["kept"]))
    to_task(deployment, pb.RESET_TASK, task_id, "ML_MODEL")
    assert {stage.kind: stage.run for stage in deployment.get(task_id).stages} == {
        APP: 1,
        CARBON: 2,
        CONSTRAINTS: 1,
        RESOURCES: 2,
        METADATA: 1,
        MODEL: 2,
    }
    claimed = modules[MODEL].take()
    assert claimed is not None
    assert modules[MODEL].inputs(claimed.attempt)[1].app_requirements == ["kept"]
    modules[MODEL].complete(claimed.attempt)
    deployment.finish(modules)
    assert deployment.state(task_id) == "SUCCEEDED"


def test_a_running_task_runs_again_below_what_still_runs(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    modules[APP].run()
    modules[CONSTRAINTS].run()
    metadata = modules[METADATA].take()
    assert metadata is not None
    to_task(deployment, pb.RESET_TASK, task_id, "ML_MODEL")
    assert deployment.state(task_id) == "RUNNING"
    assert deployment.due(MODEL) == []
    modules[METADATA].complete(metadata.attempt)
    assert len(deployment.due(MODEL)) == 1
    running = modules[MODEL].take()
    assert running is not None
    to_task(deployment, pb.RESET_TASK, task_id)
    with pytest.raises(IncompatibleStatusError):
        modules[MODEL].complete(running.attempt)
    assert deployment.kinds()[MODEL].state == pb.MODULE_IDLE
    deployment.finish(modules)
    assert (deployment.state(task_id), deployment.get(task_id).run) == ("SUCCEEDED", 3)


def test_a_failed_task_runs_again(deployment: Deployment):
    modules = deployment.modules()
    task_id = deployment.submit().task_id
    claimed = modules[CONSTRAINTS].take()
    assert claimed is not None
    modules[CONSTRAINTS].fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, "no")
    with pytest.raises(StateError, match="reset HW_CONSTRAINTS"):
        to_task(deployment, pb.RESET_TASK, task_id, "ML_MODEL")
    to_task(deployment, pb.RESET_TASK, task_id, "HW_CONSTRAINTS")
    deployment.finish(modules)
    found = deployment.get(task_id)
    assert (found.state, found.failed, found.HasField("error")) == (pb.STAGE_SUCCEEDED, False, False)


def test_what_was_terminated_never_runs_again(deployment: Deployment):
    task_id = deployment.submit().task_id
    to_task(deployment, pb.TERMINATE_TASK, task_id)
    assert (deployment.state(task_id), deployment.get(task_id).final) == ("STOPPED", True)
    with pytest.raises(StateError, match="TERMINATE_TASK"):
        to_task(deployment, pb.RESET_TASK, task_id)


def test_others_go_first(deployment: Deployment):
    module = Module(deployment, APP, slots=1)
    first = deployment.submit(priority=5).task_id
    second, third = deployment.submit(priority=-3).task_id, deployment.submit().task_id
    claimed = module.take()
    assert claimed is not None
    assert deployment.get(first).stages[APP].state == pb.STAGE_RUNNING
    early = deployment.rows("SELECT task_key FROM stages WHERE problem = 1 AND kind = 0")[0].task_key
    record = to_task(deployment, pb.PREEMPT_TASK, first)
    assert record.state == pb.COMMAND_APPLIED
    assert deployment.state(first) == "WAITING"
    with pytest.raises(IncompatibleStatusError):
        module.complete(claimed.attempt)
    module.runs = []
    with pytest.raises(IncompatibleStatusError, match="others go first"):
        module.claim(early)
    order = []
    while claimed := module.take():
        work = pb.StageWork()
        claimed.work.Unpack(work)
        order.append(work.task_id)
        module.complete(claimed.attempt)
    assert order == [third, second, first]


def unsent(deployment: Deployment) -> int:
    return deployment.rows(
        "SELECT count(DISTINCT key) AS count FROM outbox WHERE sent_at IS NULL AND message = 'task.run'"
    )[0].count


def test_what_waits_is_announced_again_to_whoever_takes_work_again(deployment: Deployment):
    module = Module(deployment, APP)
    deployment.submit()
    record = give(deployment, pb.STOP_NODE, "APP_REQUIREMENTS/m0")
    deployment.change("UPDATE outbox SET sent_at = now()")
    obey(module)
    assert (shown(deployment, record)[0], unsent(deployment)) == ("APPLIED", 1)
    deployment.change("UPDATE outbox SET sent_at = now()")
    give(deployment, pb.START_NODE, "APP_REQUIREMENTS")
    assert unsent(deployment) == 1
    for phase, expected in ((pb.PHASE_INITIALIZING, 0), (pb.PHASE_SPINNING, 1), (pb.PHASE_SPINNING, 0)):
        deployment.change("UPDATE outbox SET sent_at = now()")
        module.phase = phase
        module.report()
        assert unsent(deployment) == expected


def test_both_commands_at_once(deployment: Deployment):
    module = Module(deployment, APP)
    task_id = deployment.submit().task_id
    module.take()
    record = give(deployment, pb.STOP_NODE, "APP_REQUIREMENTS", cmd_task=pb.STOP_TASK, task_id=task_id)
    assert [target.node for target in record.targets] == ["ORCHESTRATOR", "APP_REQUIREMENTS/m0"]
    assert deployment.state(task_id) == "STOPPED"
    obey(module)
    module.report()
    assert shown(deployment, record)[0] == "APPLIED"
