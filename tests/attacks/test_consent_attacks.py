"""An organization's worker runs what its consent policy covers, whoever sends it whatever."""

import json
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.embedded import commands
from orchestrator.embedded.federation import Federation, remove_data
from orchestrator.engine.transaction import Database
from tests.kit.network import Network
from tests.kit.temporary import passable
from tests.kit.waiting import wait_until

VICTIM, ATTACKER = "org-a", "org-b"
OWN_ONLY = "organizations: []\n"
# Whatever runs there could be read; that it ran at all is enough to know.
STEALS = 'outputs["model"].write_text("stolen")'
SETTINGS = {"LOST_POKE_PERIOD": "500ms", "LOST_POKE_AGE": "500ms", "RETRY_BACKOFF": "200ms"}


class Attack(Network):
    """A federation in which nobody has consented to anything, and what its attacker does."""

    def __init__(self, federation: Federation) -> None:
        super().__init__(federation)
        self.policy = commands.policy_of(federation.places.consent, VICTIM)

    @property
    def decisions(self) -> Path:
        return self.policy.with_name(f"{VICTIM}.decisions.yaml")

    def reset(self) -> None:
        self.policy.write_text(OWN_ONLY)
        self.decisions.write_text("")

    def attack(self, function: pb.Function) -> str:
        """Send a task to the victim that needs none of its data; return its key."""
        return self.task(function, owner=ATTACKER, worker=VICTIM)

    def own_function(self) -> pb.Function:
        """A function of the attacker's that is ready."""
        return self.built(self.function(STEALS, owner=ATTACKER))

    def declined(self, task: str, words: str = "") -> pb.Decline:
        """Wait until everybody can see that a task is declined, and why."""
        asked = pb.GetDeclinesParam(compute_task_key=task)

        def found() -> pb.Decline | None:
            answer = self.client(ATTACKER).worker.GetDeclines(asked).declines
            return answer[0] if answer and words in answer[0].reason else None

        return wait_until(found, timeout=60, message=f"task {task} to be declined: {words}")

    def state(self, task: str) -> "pb.ComputeTaskStatus.ValueType":
        return self.client(ATTACKER).tasks.GetTask(pb.GetTaskParam(key=task)).status

    def done(self, task: str) -> None:
        ended = self.ended(task)
        assert ended.status == pb.STATUS_DONE

    def consent(self, *words: str, code: int = 0) -> str:
        done = self.command("consent", "--data", str(self.federation.folder), "--org", VICTIM, *words)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def started(self, *words: str) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
        """Run one of our commands; yield it, and the file that it writes to."""
        said = self.policy.with_name(f"{uuid.uuid4()}.said")
        with said.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", "orchestrator", *words], stdout=output)
        try:
            yield process, said
        finally:
            process.kill()
            process.wait()

    def rows(self, query: str, **parameters: object) -> list[tuple[object, ...]]:
        database = Database(self.federation.places.database_url, pool_size=1)
        try:
            with database.engine.begin() as connection:
                result = connection.execute(text(query), parameters)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            database.close()

    def swept(self, times: int) -> None:
        """Wait until lost pokes were looked for so often."""
        query = "SELECT ran_at FROM sweeps WHERE name = 'sweep.lost_pokes'"
        for _ in range(times):
            before = self.rows(query)
            wait_until(lambda before=before: self.rows(query) != before, 30, "a sweep")

    def never_ran(self, task: str) -> None:
        assert self.state(task) == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT
        assert not self.rows("SELECT * FROM attempts WHERE task_key = :key", key=uuid.UUID(task))

    @contextmanager
    def second_node(self) -> Iterator[None]:
        worker = commands.worker(self.federation.places, VICTIM, {}, "node-2")
        worker.start()

        def heard() -> bool:
            nodes = self.client(VICTIM).worker.GetNodes(pb.GetNodesParam()).nodes
            return any(node.name == "node-2" for node in nodes)

        try:
            wait_until(heard, 60, "the second node")
            yield
        finally:
            worker.stop()


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attack]:
    folder, data = tmp_path_factory.mktemp("federation"), passable(tmp_path_factory.mktemp("data"))
    (data / "consent").mkdir()
    for name in (VICTIM, ATTACKER):
        commands.policy_of(data / "consent", name).write_text(OWN_ONLY)
    federation = Federation(folder / "federation", [VICTIM, ATTACKER], data=data, settings=SETTINGS, flower=False)
    try:
        with federation, Attack(federation) as attack:
            yield attack
    finally:
        remove_data(data)


@pytest.fixture
def attack(federation: Attack) -> Attack:
    federation.reset()
    return federation


@pytest.fixture(scope="module")
def function(federation: Attack) -> pb.Function:
    return federation.own_function()


def test_a_task_of_another_does_not_run_and_everybody_sees_why(attack: Attack, function: pb.Function) -> None:
    task = attack.attack(function)
    decline = attack.declined(task)
    assert decline.worker == VICTIM
    assert decline.reason.startswith("org-a has not approved function function of org-b")
    attack.swept(3)
    assert attack.declined(task) == decline, "it is declined once"
    pokes = attack.rows("SELECT count(*) FROM outbox WHERE message = 'task.run' AND key = :key", key=uuid.UUID(task))
    assert pokes == [(1,)], "and not poked again"
    attack.never_ran(task)
    as_attacker = ["--data", str(attack.federation.folder), "--org", ATTACKER]
    plan = decline.compute_plan_key
    for words in (["plan", *as_attacker, "show", plan], ["task", *as_attacker, "show", task]):
        assert decline.reason in attack.command(*words).stdout
    with attack.started("plan", *as_attacker, "watch", plan) as (watching, said):
        wait_until(lambda: decline.reason in said.read_text(), 60, "the watcher to be told")
        attack.client(ATTACKER).cancel(plan)
        assert watching.wait(60) == 1
    assert attack.ended(task).status == pb.STATUS_CANCELED
    assert not attack.client(VICTIM).worker.GetDeclines(pb.GetDeclinesParam(worker=VICTIM)).declines


def test_what_is_approved_runs_function_and_plan_apart(attack: Attack, function: pb.Function) -> None:
    task = attack.attack(function)
    plan = attack.declined(task).compute_plan_key
    (waiting,) = json.loads(attack.consent("list", "--json"))["waiting"]
    assert (waiting["tasks"], waiting["function"], waiting["plan"]) == (1, True, True)
    listed = attack.consent("list")
    (printed,) = re.findall(r"orchestrator (consent .* show .*)", listed)
    assert attack.command(*shlex.split(printed)).returncode == 0, "what is printed runs"
    shown = attack.consent("show", function.key)
    assert 'outputs["model"].write_text("stolen")' in shown
    assert "ENTRYPOINT" in shown
    attack.consent("approve", "--function", function.key, "--checksum", "0" * 64, code=1)
    attack.consent("approve", "--function", function.key, "--checksum", function.archive.checksum)
    left = attack.declined(task, words=f"org-a has not approved compute plan {plan} of org-b")
    assert not left.function
    attack.never_ran(task)
    told = json.loads(attack.consent("approve", "--plan", plan[:13], "--json"))
    assert told["tasks"] <= 1, "the agent may have been quicker"
    attack.done(task)
    events = attack.client(ATTACKER).worker.GetTaskEvents(pb.GetTaskEventsParam(compute_task_key=task)).events
    kinds = [event.event_kind for event in events if event.HasField("decline")]
    assert kinds == [pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_DISABLED]
    assert [event.profiling_step.step for event in events if event.HasField("profiling_step")]
    assert attack.rows("SELECT attempts FROM task_states WHERE key = :key", key=uuid.UUID(task)) == [(1,)]


def test_another_archive_under_an_approved_key_does_not_run(attack: Attack) -> None:
    approved = attack.built(attack.function("", owner=ATTACKER))
    other = attack.own_function()
    attack.consent("approve", "--function", approved.key)
    attack.policy.write_text("organizations: [org-b]\nfunctions: approved\n")
    # Whoever runs the orchestrator may tell what they like of a function.
    lie = pb.Function()
    lie.CopyFrom(approved)
    lie.archive.CopyFrom(other.archive)
    attack.rows(
        "UPDATE functions SET message = :message WHERE key = :key",
        message=lie.SerializeToString(),
        key=uuid.UUID(approved.key),
    )
    task = attack.attack(approved)
    assert attack.declined(task).function
    attack.never_ran(task)


def test_a_broken_policy_keeps_the_last_good_one(attack: Attack, function: pb.Function) -> None:
    attack.policy.write_text("organizations: [org-b]\n")
    attack.done(attack.attack(function))
    attack.policy.write_text("organizations: [org-b\n")
    attack.done(attack.attack(function))
    attack.consent("list", code=2)
    log = attack.federation.places.logs / f"worker-{VICTIM}.log"
    assert "consent_policy.not_reloaded" in log.read_text()
    worker = attack.federation.service(f"worker-{VICTIM}")
    worker.stop()
    worker.start()
    wait_until(lambda: not worker.alive, 60, "the worker to refuse to start")
    assert f"{attack.policy}, line 2: " in log.read_text()
    attack.policy.write_text(OWN_ONLY)
    worker.start()
    task = attack.attack(function)
    attack.declined(task)
    attack.never_ran(task)


def test_a_policy_that_changes_pokes_and_a_refusal_wins(attack: Attack, function: pb.Function) -> None:
    task = attack.attack(function)
    attack.declined(task)
    attack.consent("refuse", "--function", function.key)
    attack.policy.write_text("organizations: [org-b]\n")
    assert attack.declined(task, words="has refused function").refused
    attack.swept(2)
    attack.never_ran(task)
    attack.consent("approve", "--function", function.key)
    attack.done(task)


def test_a_refusal_that_no_task_asked_for_holds_when_its_file_is_damaged(attack: Attack, function: pb.Function) -> None:
    attack.consent("refuse", "--organization", ATTACKER)
    # Told by each process that looked after the refusal was written: the one of the pool, and the agent.
    attack.policy.write_text("\n" * 1000 + "nothing: []\n")
    log = attack.federation.places.logs / f"worker-{VICTIM}.log"
    wait_until(lambda: log.read_text().count("line 1001: this key is not known") >= 2, 60, "both to look")
    attack.decisions.write_text("refused: [\n")
    attack.policy.write_text("organizations: [org-b]\n")
    task = attack.attack(function)
    assert attack.declined(task, words="has refused").refused
    attack.never_ran(task)


def test_two_nodes_decline_and_one_runs_it_once_approved(attack: Attack, function: pb.Function) -> None:
    with attack.second_node():
        tasks = [attack.attack(function) for _ in range(4)]
        for task in tasks:
            attack.declined(task)
        attack.consent("approve", "--organization", ATTACKER)
        for task in tasks:
            attack.done(task)
            assert attack.rows("SELECT attempts FROM task_states WHERE key = :key", key=uuid.UUID(task)) == [(1,)]


def test_the_organizations_own_tasks_run_without_consent(attack: Attack) -> None:
    own = attack.built(attack.function(owner=VICTIM))
    attack.done(attack.task(own, owner=VICTIM, worker=VICTIM))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["approve"], 2),
        (["approve", "--function", "x", "--plan", "y"], 2),
        (["approve", "--organization", VICTIM], 2),
        (["refuse", "--organization", "nobody"], 3),
        (["approve", "--function", str(uuid.uuid4())], 3),
        (["show", str(uuid.uuid4())], 3),
    ],
)
def test_what_cannot_be_decided_is_refused(attack: Attack, words: list[str], code: int) -> None:
    said = attack.consent(*words, code=code)
    assert said.startswith(("Error: ", "Usage: "))
    assert not attack.decisions.read_text()
