"""The agent of a node: it keeps alive what lives, ends what must end, and cleans up after what was killed."""

import fcntl
import os
import signal
import stat
import subprocess
import threading
import uuid
from contextlib import ExitStack

import pytest

from orchestrator import protos as pb
from orchestrator.core import crash
from tests.kit.processes import SELF, launcher_of, lives, outside
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World
from workers import processes
from workers.channels import connect
from workers.consent.declines import Asking
from workers.consent.policy import Consent
from workers.errors import Released, Stopped
from workers.folder import WorkingFolder, clear, working_folder
from workers.node.agent import Agent, Command
from workers.record import Record
from workers.run import attempt, orders, report
from workers.run.orders import Kind, Orders
from workers.run.slot import Slot


class Sleeper:
    """A function that says that it runs, and then sleeps; ignoring TERM if it is to be stubborn."""

    def __init__(self, world: World, stubborn: bool = False) -> None:
        self._file = world.seen / "pid"
        ignores = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
        self.source = (
            f"import os; {ignores}p = pathlib.Path({str(self._file)!r}); q = p.with_name('draft'); "
            f"q.write_text({SELF}); q.rename(p); time.sleep(60)"
        )

    def wait(self) -> tuple[int, int]:
        """Wait until it runs; return the ids of its process and of its launcher."""
        wait_until(self._file.exists, timeout=30, message="the function to run")
        function = outside(self._file.read_text())
        return function, launcher_of(function)


def owned(world: World, task: str, channel: str = "known", number: int = 1) -> WorkingFolder:
    running = pb.Attempt(compute_task_key=task, number=number, token=f"token of {task}")
    return WorkingFolder(world.settings.node_folder, task, Record.of_attempt(running, channel))


def test_an_idle_node_beats_in_each_channel(world: World) -> None:
    with world.agent():
        wait_until(lambda: len(world.recorded.heartbeats) >= 6, message="heartbeats")
    assert {channel for channel, _ in world.recorded.heartbeats} == {"known", "other"}
    for _, beat in world.recorded.heartbeats:
        assert beat == pb.HeartbeatParam(node="node-1", slots=world.settings.concurrency)


def test_one_call_renews_all_attempts_of_a_channel(world: World) -> None:
    tasks = {str(uuid.uuid4()) for _ in range(3)}
    elsewhere = str(uuid.uuid4())
    with world.agent(), ExitStack() as held:
        held.enter_context(working_folder(world.settings.node_folder, "build"))
        held.enter_context(owned(world, elsewhere, "other"))
        for task in tasks:
            held.enter_context(owned(world, task))
        begin = len(world.recorded.heartbeats) + 2
        wait_until(lambda: len(world.recorded.heartbeats) >= begin + 6, message="heartbeats")
        beats = world.recorded.heartbeats[begin:]
    for channel, beat in beats:
        expected = tasks if channel == "known" else {elsewhere}
        assert {running.compute_task_key for running in beat.attempts} == expected
        assert all(running.token == f"token of {running.compute_task_key}" for running in beat.attempts)
    assert not world.recorded.failed


def test_a_token_is_readable_by_this_user_alone(world: World) -> None:
    with owned(world, world.task) as folder:
        assert stat.S_IMODE(folder.place.owner.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(world.settings.node_folder.stat().st_mode) == 0o700
        assert "token" not in repr(folder.place.record())


def test_the_agent_beats_at_once_when_told_to(world: World) -> None:
    world.recorded.lease = 600.0
    with world.agent() as tell:
        wait_until(lambda: len(world.recorded.heartbeats) >= 2, message="the first heartbeats")
        tell(Command.BEAT)
        wait_until(lambda: len(world.recorded.heartbeats) >= 4, timeout=60, message="heartbeats long before their time")


def test_a_stop_order_is_obeyed_while_the_lease_has_long_to_go(world: World) -> None:
    world.recorded.lease = 600.0
    sleeper = Sleeper(world)
    world.claim(world.function(sleeper.source)).lease.FromSeconds(600)
    with world.agent() as tell, world.process() as process:
        pid, _ = sleeper.wait()
        world.recorded.stops[world.task] = "the plan was cancelled"
        tell(Command.BEAT)
        assert process.wait(60) == 0
        assert not lives(pid)
        wait_until(lambda: world.recorded.stopped, timeout=60, message="the receipt, long before the next heartbeat")
        wait_until(lambda: not world.files, message="the receipt to be answered")
    assert not world.recorded.completed
    assert not world.recorded.failed


def test_the_receipt_of_a_stop_is_sent_until_it_is_answered(world: World) -> None:
    world.recorded.lease = 0.3
    folder = owned(world, world.task)
    with folder:
        folder.stopped = True
    (receipt,) = world.settings.node_folder.glob("*.stopped")
    world.recorded.heartbeats_unanswered = 1000
    with world.agent():
        wait_until(lambda: world.recorded.stopped, message="the first receipt")
        assert receipt.exists()
        world.recorded.heartbeats_unanswered = 0
        wait_until(lambda: not world.files, message="the receipt to be answered")
    assert len(world.recorded.stopped) >= 2
    for _, beat in world.recorded.heartbeats:
        assert all(stopped.token == f"token of {world.task}" for stopped in beat.stopped)


def test_an_attempt_whose_process_is_killed_is_reported_and_leaves_nothing(world: World) -> None:
    world.recorded.lease = 600.0
    sleeper = Sleeper(world)
    world.claim(world.function(sleeper.source)).lease.FromSeconds(600)
    with world.agent(), world.process() as process:
        pid, launcher = sleeper.wait()
        process.kill()
        wait_until(lambda: world.recorded.failed, message="the report, long before the lease runs out")
        assert not lives(pid)
        assert not lives(launcher)
        wait_until(lambda: not world.files, message="the folder to be removed")
    (lost,) = world.recorded.failed
    assert lost.attempt.token == "token"
    assert lost.error_type == pb.ERROR_TYPE_INTERNAL
    assert not world.recorded.completed


def test_a_lost_attempt_lives_until_its_function_has_ended(world: World) -> None:
    """Otherwise the task would run twice at the same time."""
    world.settings.task_kill_grace = 1.0
    sleeper = Sleeper(world, stubborn=True)
    world.claim(world.function(sleeper.source))
    with world.agent(), world.process() as process:
        pid, _ = sleeper.wait()
        process.kill()
        process.wait()
        before = len(world.recorded.heartbeats)
        wait_until(lambda: world.recorded.failed, message="the report")
        assert not lives(pid)
        assert any(beat.attempts for _, beat in world.recorded.heartbeats[before + 2 :])


def test_a_function_whose_launcher_is_killed_too_is_ended(world: World) -> None:
    sleeper = Sleeper(world, stubborn=True)
    world.claim(world.function(sleeper.source))
    with world.agent(), world.process() as process:
        pid, launcher = sleeper.wait()
        process.send_signal(signal.SIGSTOP)
        os.kill(launcher, signal.SIGKILL)
        process.kill()
        wait_until(lambda: world.recorded.failed, message="the report")
        assert not lives(pid)


def test_a_function_whose_launcher_alone_is_killed_is_ended(world: World) -> None:
    sleeper = Sleeper(world, stubborn=True)
    world.claim(world.function(sleeper.source))
    with world.agent(), world.process() as process:
        pid, launcher = sleeper.wait()
        os.kill(launcher, signal.SIGKILL)
        assert process.wait(30) == 0
        assert not lives(pid)
    failed, log = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_EXECUTION
    assert "killed by signal 9" in log


def test_a_lost_attempt_is_reported_when_the_orchestrator_answers_again(world: World) -> None:
    with world.process() as process:
        world.claim(world.function("time.sleep(600)"))
        wait_until(lambda: any(name.endswith(".owner") for name in world.files), timeout=30)
    assert process.returncode == -signal.SIGKILL
    world.recorded.unanswered = 1
    with world.agent():
        wait_until(lambda: world.recorded.failed, message="the second report")
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert len(world.recorded.failed) == 1


def test_the_results_of_a_lost_attempt_are_deleted_when_the_orchestrator_answers_again(world: World) -> None:
    # Nobody renews it.
    world.claim(world.function(TRAINS)).lease.FromSeconds(60)
    models = sorted((world.store / "models").iterdir())
    with world.process("worker.stored") as process:
        assert process.wait(30) == -signal.SIGKILL
    assert len(list((world.store / "models").iterdir())) == len(models) + 1
    world.recorded.unanswered = 1
    with world.agent():
        wait_until(lambda: world.recorded.failed, message="the second report")
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert sorted((world.store / "models").iterdir()) == models


def test_what_a_killed_worker_left_is_reported_by_the_next_one(world: World) -> None:
    sleeper = Sleeper(world)
    world.claim(world.function(sleeper.source)).lease.FromSeconds(600)
    with world.process():
        sleeper.wait()
    ownerless = world.settings.node_folder / "left"
    ownerless.mkdir()
    (world.settings.node_folder / ".draft").touch()
    clear(world.settings.node_folder)
    assert not ownerless.exists()
    with world.agent():
        with working_folder(world.settings.node_folder, "live build") as live:
            wait_until(lambda: world.recorded.failed, message="the report")
            wait_until(lambda: len(world.files) == 2, message="all but the live folder to be removed")
            assert live.is_dir()
        assert not world.files


def test_an_attempt_whose_end_is_known_is_neither_renewed_nor_reported(world: World) -> None:
    """Its folder may take long to remove."""
    with world.agent(), owned(world, world.task) as folder:
        wait_until(lambda: any(beat.attempts for _, beat in world.recorded.heartbeats), message="its heartbeat")
        folder.settle()
        begin = len(world.recorded.heartbeats) + 2
        wait_until(lambda: len(world.recorded.heartbeats) >= begin + 2, message="heartbeats without it")
        assert not any(beat.attempts for _, beat in world.recorded.heartbeats[begin:])
        fcntl.flock(folder.lock, fcntl.LOCK_UN)
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert not world.recorded.failed


def test_an_owner_without_words_is_cleaned_up_without_a_report(world: World) -> None:
    """A power cut takes the content of a file that was just written, but not its name."""
    with working_folder(world.settings.node_folder, "a") as folder:
        owner = folder.with_name(f"{folder.name}.owner")
    folder.mkdir()
    owner.touch()
    with world.agent():
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert not world.recorded.failed


@pytest.mark.parametrize(
    "point",
    ["worker.claimed", "worker.before_run", "worker.ran", "worker.stored", "worker.before_report", "worker.reported"],
)
def test_a_crash_at_any_point_loses_nothing_and_leaves_nothing(world: World, point: str) -> None:
    world.claim(world.function(TRAINS))
    models = sorted((world.store / "models").iterdir())
    with world.agent(), world.process(point) as process:
        assert process.wait(30) == -signal.SIGKILL
        if point == "worker.reported":
            wait_until(lambda: world.recorded.stopped, message="the end to be noticed")
        elif point != "worker.claimed":
            wait_until(lambda: world.recorded.failed, message="the report")
        wait_until(lambda: not world.files, message="the folder to be removed")
    if point == "worker.reported":
        (completed,) = world.recorded.completed
        (model,) = completed.models
        assert (world.store / "models" / model.key).exists()
        assert not world.recorded.failed
    else:
        assert sorted((world.store / "models").iterdir()) == models
        assert not world.recorded.completed


def test_a_crash_point_is_only_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(crash.VARIABLE, "another.point")
    crash.point("a.point")


def test_a_drain_gives_time_and_then_releases(world: World) -> None:
    world.settings.drain_seconds = 1.0
    world.claim(world.function("time.sleep(600)"))
    ends = threading.Thread(target=world_run, args=(world,))
    with world.agent() as tell:
        ends.start()
        wait_until(lambda: any(beat.attempts for _, beat in world.recorded.heartbeats), message="the attempt to run")
        tell(Command.DRAIN)
        wait_until(lambda: world.recorded.released, message="the release")
        ends.join()
        wait_until(lambda: not world.files, message="the folder to be removed")
    (released,) = world.recorded.released
    assert released.attempt.token == "token"
    assert released.reason == "its worker ends"
    assert not world.recorded.failed
    assert not world.recorded.stopped


def test_a_second_drain_and_a_quit_give_no_time(world: World) -> None:
    world.settings.drain_seconds = 600.0
    for commands in ([Command.DRAIN, Command.DRAIN], [Command.QUIT]):
        world.recorded.released.clear()
        with world.agent() as tell, owned(world, world.task) as folder:
            for command in commands:
                tell(command)
            order = wait_until(lambda place=folder.place: orders.given(place), message="the order to release")
            assert order.kind is Kind.RELEASE


def test_a_release_that_is_not_answered_is_left_to_the_agent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_RELEASE_SECONDS", 0.0)
    world.recorded.unanswered = 1
    world.claim(world.function("time.sleep(600)"))
    with world.agent() as tell:
        tell(Command.QUIT)
        world_run(world)
        wait_until(lambda: world.recorded.released, message="the agent to release it")
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert len(world.recorded.released) == 1
    assert not world.recorded.failed


def test_what_dies_while_the_worker_ends_is_released_not_lost(world: World) -> None:
    world.settings.drain_seconds = 600.0
    sleeper = Sleeper(world)
    world.claim(world.function(sleeper.source))
    with world.agent() as tell, world.process() as process:
        sleeper.wait()
        tell(Command.DRAIN)
        process.kill()
        wait_until(lambda: world.recorded.released, message="the release")
    assert not world.recorded.failed


def test_what_cannot_be_told_to_end_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs in something else than its function, as in a download."""
    monkeypatch.setattr("workers.node.agent._HANGING_SECONDS", 0.2)
    sleeper = Sleeper(world)
    world.claim(world.function(sleeper.source))
    with world.agent(), world.process() as process:
        pid, _ = sleeper.wait()
        process.send_signal(signal.SIGSTOP)
        world.recorded.stops[world.task] = "the plan was cancelled"
        assert process.wait(30) == -signal.SIGKILL
        wait_until(lambda: world.recorded.stopped, message="the receipt")
        assert not lives(pid)


def test_a_process_of_the_pool_that_stays_frozen_is_ended(world: World) -> None:
    """Nobody would store what its function writes."""
    world.recorded.lease = 1.5
    sleeper = Sleeper(world)
    world.claim(world.function(sleeper.source)).lease.FromSeconds(600)
    with world.agent(), world.process() as process:
        pid, _ = sleeper.wait()
        process.send_signal(signal.SIGSTOP)
        assert process.wait(30) == -signal.SIGKILL
        wait_until(lambda: world.recorded.failed, message="the report")
        assert not lives(pid)
    assert world.recorded.failed[0].lost


def test_a_process_of_the_pool_that_is_frozen_for_less_than_a_lease_goes_on(world: World) -> None:
    """It is counted in looks: who looks may have been frozen too."""
    with ExitStack() as held:
        process = held.enter_context(subprocess.Popen(["sleep", "600"]))
        held.callback(process.kill)
        channels = held.enter_context(connect(world.settings))
        record = Record(process.pid, processes.born(process.pid), "known", world.task, 1, "token")
        agent = Agent(world.settings, channels)
        with WorkingFolder(world.settings.node_folder, world.task, record):

            def freeze(looks: int) -> None:
                process.send_signal(signal.SIGSTOP)
                wait_until(lambda: processes.frozen(record.pid, record.born), message="the process to be frozen")
                for _ in range(looks):
                    agent.look()

            for _ in range(2):
                freeze(590)
                assert lives(process.pid)
                process.send_signal(signal.SIGCONT)
                wait_until(lambda: not processes.frozen(record.pid, record.born), message="the process to go on")
                agent.look()
            freeze(610)
            assert process.wait(60) == -signal.SIGKILL


def test_an_attempt_that_was_frozen_past_its_lease_asks_before_it_goes_on(world: World) -> None:
    heard: list[object] = []

    def goes_on(listener: Orders) -> None:
        try:
            listener.obey()
        except (Stopped, Released) as order:
            heard.append(order)
        else:
            heard.append("goes on")

    for kind, expected in ((Kind.STOP, Stopped), (Kind.RELEASE, Released), (None, str)):
        heard.clear()
        with owned(world, world.task) as folder:
            orders.renew(folder.place, 1.0)  # a second after the start of this machine
            thread = threading.Thread(target=goes_on, args=(Orders(folder.place),))
            thread.start()
            thread.join(0.2)
            assert not heard
            if kind is None:
                orders.renew(folder.place, 10.0**9)
            else:
                orders.give(folder.place, kind, "why")
            thread.join(60)
        assert [type(word) for word in heard] == [expected]


def test_the_first_order_stands_and_a_late_one_leaves_nothing(world: World) -> None:
    with owned(world, world.task) as folder:
        orders.give(folder.place, Kind.RELEASE, "first")
        orders.give(folder.place, Kind.STOP, "second")
        order = orders.given(folder.place)
        assert order is not None
        assert order.reason == "first"
    orders.give(folder.place, Kind.STOP, "late")
    assert not world.files


def test_an_order_that_cannot_be_written_is_a_kill(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sleeper = Sleeper(world)
    world.claim(world.function(sleeper.source))
    monkeypatch.setattr(orders, "write", full)
    with world.agent(), world.process() as process:
        sleeper.wait()
        world.recorded.stops[world.task] = "the plan was cancelled"
        assert process.wait(60) == -signal.SIGKILL
        wait_until(lambda: world.recorded.stopped, message="the receipt")


def test_a_lock_is_seized_only_when_its_owner_is_gone(world: World) -> None:
    with owned(world, world.task) as folder:
        assert folder.place.seize() is None
        fcntl.flock(folder.lock, fcntl.LOCK_UN)  # as the kernel does
        lock = folder.place.seize()
        assert lock is not None
        assert folder.place.seize() is None
        os.close(lock)
    assert folder.place.seize() is None


def test_an_owner_that_goes_in_order_meanwhile_is_not_seized(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with owned(world, world.task) as folder:
        place = folder.place
        monkeypatch.setattr("workers.folder.fcntl.flock", lambda *_: place.leave(stopped=True))
        assert place.seize() is None
        monkeypatch.undo()
        place.stopped.rename(place.owner)


def world_run(world: World) -> None:
    with connect(world.settings) as channels:
        asking = Asking(channels, Consent.of(world.settings))
        attempt.run(world.settings, asking, Slot(world.settings), world.task, 2, claimed=lambda: None)
