"""Control commands, with what acknowledges them (section 1.7 of the contract)."""

from uuid import uuid4

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, ConflictError, IncompatibleStatusError, NotFoundError
from orchestrator.core.kinds import MODULE_COMMAND
from orchestrator.problems import commands
from orchestrator.problems.sweeps import open_commands
from tests.integration.problems.given import give, obey, shown
from tests.kit.deployment import APP, MODEL, Deployment, Module, task
from tests.kit.member import after, sent


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
    with pytest.raises(IncompatibleStatusError, match="spins"):
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


@pytest.mark.parametrize("command", [pb.RESET_NODE, pb.TERMINATE_NODE], ids=pb.NodeCommand.Name)
def test_a_successor_shows_that_a_module_has_ended(deployment: Deployment, command: int):
    module = Module(deployment, APP)
    record = give(deployment, command, "APP_REQUIREMENTS")
    module.report()
    deployment.silence("m0")
    successor = Module(deployment, APP)
    assert shown(deployment, record)[0] == "APPLIED"
    assert (list(successor.told.commands), successor.told.accepting) == ([], True)


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


def unsent(deployment: Deployment) -> int:
    return deployment.rows(
        "SELECT count(DISTINCT key) AS count FROM outbox WHERE sent_at IS NULL AND message = 'task.run'"
    )[0].count


def test_what_waits_is_announced_again_to_whoever_takes_work_again(deployment: Deployment):
    module = Module(deployment, APP)
    deployment.submit()
    record = give(deployment, pb.STOP_NODE, "APP_REQUIREMENTS/m0")
    sent(deployment.database)
    obey(module)
    assert (shown(deployment, record)[0], unsent(deployment)) == ("APPLIED", 1)
    sent(deployment.database)
    give(deployment, pb.START_NODE, "APP_REQUIREMENTS")
    assert unsent(deployment) == 1
    for phase, expected in ((pb.PHASE_INITIALIZING, 0), (pb.PHASE_SPINNING, 1), (pb.PHASE_SPINNING, 0)):
        sent(deployment.database)
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
