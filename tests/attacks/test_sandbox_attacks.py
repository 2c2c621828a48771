"""What a function tries to see of us and to do to us, by the real executor. It writes nothing that would do harm."""

import ctypes
import os
import platform
import signal
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from orchestrator.embedded import commands
from orchestrator.embedded.federation import Federation
from tests.kit.processes import launcher_of, lives
from tests.kit.waiting import wait_until
from workers.executors import bubblewrap, cgroup, quota
from workers.executors.bubblewrap import NoSandboxError, Shared
from workers.executors.cgroup import NoGroupError
from workers.executors.executor import Ending, Outcome
from workers.executors.launcher.options import Options
from workers.executors.launching import ForkServer
from workers.executors.lease import clock
from workers.executors.subprocess import short_home

from .contained import EXECUTORS, Contained, limited, processes_with

LOOKS = """
import ctypes
def tried(what):
    try:
        what()
    except (OSError, PermissionError) as error:
        return type(error).__name__ + ": " + (error.strerror or str(error))
    return "done"

def opened_for_writing(path):
    # Opened and closed: never written to.
    os.close(os.open(path, os.O_WRONLY))

def connected(kind, address):
    with socket.socket(kind) as client:
        client.settimeout(2)
        client.connect(address)

def status(word):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(word + ":"))

input = pathlib.Path("/inputs/model")
found = {
    "environment": dict(os.environ),
    "processes": [p for p in os.listdir("/proc") if p.isdigit()],
    "descriptors": sorted(int(d) for d in os.listdir("/proc/self/fd")),
    "read": {path: tried(lambda: open(path).read()) for path in told["secrets"]},
    "first process": pathlib.Path("/proc/1/cmdline").read_text().replace("\\0", " "),
    "leases": [name for _, _, names in os.walk("/") for name in names if name.endswith(".owner")],
    "signalled": tried(lambda: os.kill(told["worker"], 0)),
    "loopback": tried(lambda: connected(socket.AF_INET, ("127.0.0.1", told["port"]))),
    "abstract": tried(lambda: connected(socket.AF_UNIX, "\\0" + told["abstract"])),
    "outside": tried(lambda: connected(socket.AF_INET, ("192.0.2.1", 9))),
    "shared memory": ctypes.CDLL(None).shmget(told["shared memory"], 0, 0),
    # Asked, not tried: this runs on a machine that others use.
    "writable": [path for path in told["folders"] if os.access(path, os.W_OK)],
    "kernel": {path: tried(lambda: opened_for_writing(path)) for path in told["kernel"] if os.path.exists(path)},
    "input": tried(lambda: opened_for_writing(input)),
    "input linked": tried(lambda: os.link(input, outputs / "linked")),
    "input read": input.read_text(),
    "user": (os.getuid(), os.path.expanduser("~function")),
    "capabilities": status("CapEff"),
    "no new privileges": status("NoNewPrivs"),
    "namespace made": ctypes.CDLL(None).unshare(0x10000000),
}
(outputs / "found").write_text(json.dumps(found))
"""
KERNEL = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/drop_caches",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
)
FOLDERS = ("/", "/dev", "/usr", "/etc", "/inputs", sys.prefix)


@contextmanager
def shared_memory() -> Iterator[int]:
    """A segment of System V that everybody who sees it may use, as databases have; yield its key."""
    library, key = ctypes.CDLL(None), uuid.uuid4().int % 2**31
    segment = library.shmget(key, 1, 0o1666)  # made (IPC_CREAT), for all
    assert segment >= 0
    try:
        yield key
    finally:
        library.shmctl(segment, 0, None)  # removed (IPC_RMID)


@pytest.fixture(scope="module", params=["sandbox", "prepared"])
def found(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Mapping[str, object]:
    """What one function found in its sandbox, next to a worker with secrets."""
    folder = tmp_path_factory.mktemp("attempt")
    secrets = [folder / "other attempt", folder / "key.pem", Path(f"/proc/{os.getpid()}/environ"), Path(__file__)]
    for file in secrets[:2]:
        file.write_text("secret")
    contained = Contained(folder, request.param)
    (folder / "inputs" / "model").write_text("weights")
    lease = folder / "task.owner"
    lease.touch()
    os.utime(lease, (clock() + 600,) * 2)
    name = uuid.uuid4().hex
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        closing(socket.socket(socket.AF_UNIX)) as abstract,
        shared_memory() as key,
    ):
        abstract.bind(f"\0{name}")
        abstract.listen()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ORCHESTRATOR_BROKER_URL", "redis://:secret@host")
            outcome = contained.run(
                LOOKS,
                limited(time=180.0),
                lease=lease,
                secrets=[str(path) for path in secrets],
                worker=os.getpid(),
                port=server.getsockname()[1],
                abstract=name,
                folders=FOLDERS,
                kernel=KERNEL,
                **{"shared memory": key},
            )
    assert outcome == Outcome(Ending.EXITED, 0), contained.log.read_text()
    return contained.found()


def test_no_secret_of_the_worker_is_in_sight(found) -> None:
    assert set(found["read"].values()) == {"FileNotFoundError: No such file or directory"}
    assert "secret" not in str(found["environment"])
    assert found["leases"] == []
    assert "attempt" not in found["first process"]
    assert found["descriptors"] == [0, 1, 2, 3]  # the last one is of the listing itself


def test_no_process_of_the_worker_is_in_sight(found) -> None:
    assert len(found["processes"]) <= 3
    assert found["signalled"] == "ProcessLookupError: No such process"


def test_no_network_but_an_empty_loopback(found) -> None:
    assert "refused" in found["loopback"]
    assert "refused" in found["abstract"]
    assert "unreachable" in found["outside"]


def test_no_shared_memory_of_other_programs_is_in_sight(found) -> None:
    assert found["shared memory"] == -1


def test_nothing_but_its_own_can_be_written(found) -> None:
    assert found["writable"] == []
    # By a worker that runs as root these would be writable for their owner.
    assert found["kernel"]
    assert not [path for path, result in found["kernel"].items() if result == "done"]
    assert found["input read"] == "weights"
    assert found["input"] == "OSError: Read-only file system"
    assert "cross-device" in found["input linked"]


def test_it_has_no_rights_and_gets_none(found) -> None:
    assert found["user"] == [1000, "/tmp"]
    assert int(found["capabilities"], 16) == 0
    assert found["no new privileges"] == "1"
    assert found["namespace made"] == -1


def test_the_network_is_there_when_it_is_given(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        source = "socket.create_connection(('127.0.0.1', told['port']), 2).close()"
        outcome = Contained(tmp_path, network=True).run(source, port=server.getsockname()[1])
    assert outcome == Outcome(Ending.EXITED, 0)


@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_frozen_launcher_does_not_make_the_time_limit_void(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.executors.local._PATIENCE_SECONDS", 1.0)
    contained = Contained(tmp_path, kind)
    mark = uuid.uuid4().hex
    source = (
        "os.kill(os.getppid(), signal.SIGSTOP)\n"
        f"os.execvp('python3', ['python3', '-c', 'import time; time.sleep(600)', '{mark}'])\n"
    )
    assert contained.run(source, limited(time=1.5)).ending is Ending.TIMED_OUT
    assert not processes_with(mark)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_launcher_that_is_hurt_from_outside_takes_the_sandbox_along(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a daemon in a session of its own, with a clean environment, that ignores all it can."""
    monkeypatch.setattr("workers.executors.local._PATIENCE_SECONDS", 1.0)
    contained, mark = Contained(tmp_path), uuid.uuid4().hex
    daemon = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    source = (
        f"subprocess.Popen([sys.executable, '-c', {daemon!r}, {mark!r}], env={{}}, start_new_session=True)\n"
        "(seen / 'ready').touch(); time.sleep(600)"
    )
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(contained.run(source, limited(time=20.0))))
    thread.start()
    # Bubblewrap's own command lines do not hold it.
    (pid,) = wait_until(lambda: (contained.seen / "ready").exists() and processes_with(mark), 60)
    os.kill(launcher_of(pid), number)
    contained.stop.set()
    thread.join(30)
    assert outcomes[0] in (Outcome(Ending.STOPPED), Outcome(Ending.EXITED, 128 + signal.SIGKILL))
    wait_until(lambda: not processes_with(mark), message="the daemon to end")


# Each writes something, and fails where a machine for training would not.
ORDINARY = """
import concurrent.futures, getpass, locale, multiprocessing, sqlite3
from multiprocessing import shared_memory

def double(number):
    return 2 * number

if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        shared = manager.dict(a=1)
        assert shared["a"] == 1
    for method in ("fork", "forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(double, range(4))) == [0, 2, 4, 6]
    # As data loaders hand over descriptors.
    ours, theirs = multiprocessing.Pipe()
    from multiprocessing import reduction
    process = multiprocessing.get_context("spawn").Process(target=print, args=(theirs,))
    process.start(); process.join()
    assert process.exitcode == 0
    memory = shared_memory.SharedMemory(create=True, size=1_000_000)
    memory.buf[:3] = b"abc"
    memory.close(); memory.unlink()
    multiprocessing.get_context("fork").Semaphore(1).acquire()
    cache = pathlib.Path.home() / ".cache" / "torch"
    cache.mkdir(parents=True)
    (cache / "weights").write_bytes(bytes(1000))
    files = [tempfile.TemporaryFile() for _ in range(64)]
    with sqlite3.connect(cache / "db") as database:
        database.execute("CREATE TABLE t (x)")
    assert getpass.getuser()
    locale.setlocale(locale.LC_ALL, "")
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    with socket.create_server(("localhost", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    assert subprocess.run("echo $((1 + 1))", shell=True, capture_output=True, text=True).stdout == "2\\n"
    pathlib.Path("beside the code").write_text("x")
    import numpy, sklearn.linear_model
    sklearn.linear_model.LinearRegression(n_jobs=2).fit(numpy.eye(3), numpy.ones(3))
    (outputs / "found").write_text("{}")
"""


@pytest.mark.parametrize("kind", EXECUTORS)
def test_what_ordinary_training_does_works(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / ("a-long-name-of-a-working-folder-as-they-are-" * 2)
    folder.mkdir()
    contained = Contained(folder, kind)
    outcome = contained.run(ORDINARY, limited(time=60.0))
    assert outcome == Outcome(Ending.EXITED, 0), contained.log.read_text()
    assert contained.found() == {}
    assert not short_home(folder / "home").is_symlink()


def test_a_python_that_lies_in_tmp_is_seen_though_functions_have_one_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = bubblewrap._python()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        told = Path(place) / "told"
        told.write_text("here")
        monkeypatch.setattr(bubblewrap, "_python", lambda: [*ours, place])
        contained = Contained(tmp_path)
        source = f"assert pathlib.Path({str(told)!r}).read_text() == 'here'; assert not os.access({place!r}, os.W_OK)"
        assert contained.run(source) == Outcome(Ending.EXITED, 0), contained.log.read_text()


def test_a_place_that_lacks_a_part_of_what_functions_get_is_refused_before_any_runs(tmp_path: Path) -> None:
    partial = tmp_path / "bwrap"
    # As in a container whose security profile forbids sethostname alone.
    partial.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '  *--hostname*) echo "bwrap: Can\'t set hostname to function: Operation not permitted" >&2; exit 1;;\n'
        "esac\n"
        f'exec {bubblewrap.find()} "$@"\n'
    )
    partial.chmod(0o755)
    with pytest.raises(NoSandboxError, match="Can't set hostname"):
        bubblewrap.check(partial)


def test_a_place_without_namespaces_is_refused_with_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(NoSandboxError) as refused:
        bubblewrap.check(broken)
    assert "No permissions to create new namespace" in str(refused.value)
    assert "ORCHESTRATOR_EXECUTOR=subprocess" in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(NoSandboxError, match="/nowhere, and there is no such path"):
        bubblewrap.check(bubblewrap.find(), [Shared(Path("/nowhere"), False)])
    for private in (Path(sys.prefix, "key.pem"), tmp_path, tmp_path / "shared" / "store"):
        with pytest.raises(NoSandboxError, match="which is private"):
            bubblewrap.check(bubblewrap.find(), [Shared(tmp_path / "shared", False)], [private])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert "No permissions" in (commands.why_not_isolated() or "")
        said: list[str] = []
        settings = Federation(tmp_path / "data", ["org-1"], tell=said.append)._isolated({"LEASE": 1})
    assert settings == {"LEASE": 1, "EXECUTOR": "subprocess"}
    assert len(said) == 1
    assert said[0].startswith("Functions are not isolated here, and run as your user")


@pytest.fixture
def control_group() -> Iterator[Path]:
    """A control group of the test's own; of version 2, whatever controllers this machine has for it."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    root = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("needs a cgroup v2 hierarchy in which this user may make groups")
    folder = root / f"orchestrator-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"needs a cgroup v2 hierarchy in which this user may make groups: {error.strerror}")
    if not (folder / "cgroup.kill").exists():
        folder.rmdir()
        pytest.skip("needs a kernel with cgroup.kill (5.14)")
    yield folder
    assert cgroup.end(folder.parent, folder.name)


def test_a_control_group_ends_what_hides(tmp_path: Path, control_group: Path) -> None:
    """A process in it, with a session, an environment and a parent of its own, as a killed launcher leaves it."""
    mark = uuid.uuid4().hex
    child = f"import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)  # {mark}"
    options = Options(
        grace=1.0, memory=0, file_size=1000, open_files=100, processes=0, log_size=1000, cgroup=str(control_group)
    )
    daemon = [sys.executable, "-IS", "-c", child]
    waits = "while not os.path.exists('go'): time.sleep(0.01)"
    kills = f"import os, subprocess, time; subprocess.run({daemon!r}, env={{}})\n{waits}\nos.kill(os.getppid(), 9)"
    words = [sys.executable, "-IS", "-c", kills]
    server = ForkServer()
    with (tmp_path / "lock").open("w") as lock:
        launched = server.launch(tmp_path, options, words, {}, lock.fileno(), lock.fileno())
    # Else it would end the orphans of its launcher itself.
    server.stop()
    (tmp_path / "go").touch()
    with closing(launched):
        assert launched.ended(20)
        assert launched.code == -signal.SIGKILL
    assert [pid for pid in processes_with(mark) if lives(pid)]
    assert cgroup.end(control_group.parent, control_group.name)
    assert not [pid for pid in processes_with(mark) if lives(pid)]


def test_where_no_control_group_can_be_made_the_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoGroupError, match=r"ORCHESTRATOR_CGROUP=.*Delegate=memory pids"):
        cgroup.check(tmp_path / "nowhere")


def test_the_functions_processes_are_gone(tmp_path: Path) -> None:
    contained, mark = Contained(tmp_path), uuid.uuid4().hex
    source = f"subprocess.Popen(['sh', '-c', 'sleep 600; : {mark}'], env={{}}, start_new_session=True)"
    assert contained.run(source) == Outcome(Ending.EXITED, 0)
    assert not [pid for pid in processes_with(mark) if lives(pid)]
    assert not [each for each in psutil.Process().children() if "bwrap" in each.name()]


KEYS = """
import ctypes
library = ctypes.CDLL(None, use_errno=True)

def tried(*arguments):
    ctypes.set_errno(0)
    library.syscall(*arguments)
    return os.strerror(ctypes.get_errno())

def opened(path):
    try:
        open(path).close()
    except OSError as error:
        return error.strerror
    return "done"

def made(family, kind):
    try:
        socket.socket(family, kind).close()
    except OSError as error:
        return error.strerror
    return "done"

found = {
    # keyctl(KEYCTL_GET_KEYRING_ID, the session's or the user's, do not make one)
    "keys": [tried(told["keyctl"], 0, ring, 0) for ring in (-3, -4, -5)],
    "listed": opened("/proc/keys"),
    "vsock": made(40, socket.SOCK_STREAM),
    "ordinary": [made(socket.AF_INET, socket.SOCK_STREAM), made(socket.AF_UNIX, socket.SOCK_STREAM)],
    "hidden": tried(told["prctl"], 4, 0),
}
(outputs / "found").write_text(json.dumps(found))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the calls are those of x86-64")
def test_a_function_reaches_no_keys_of_the_worker_and_no_machine_below(tmp_path: Path):
    contained = Contained(tmp_path)
    outcome = contained.run(KEYS, keyctl=250, prctl=157)
    assert (outcome.ending, outcome.exit_code) == (Ending.EXITED, 0), contained.log.read_text()
    assert contained.found() == {
        "keys": ["Operation not permitted"] * 3,
        "listed": "Permission denied",
        "vsock": "Operation not permitted",
        "ordinary": ["done", "done"],
        "hidden": "Operation not permitted",
    }


@pytest.mark.parametrize(
    "hides",
    [
        "file = open('/tmp/kept', 'w+b'); file.write(b'x' * told['size']); file.flush()\n"
        "held = mmap.mmap(file.fileno(), told['size']); os.unlink('/tmp/kept'); file.close()",
        "import ctypes, threading\n"
        "def keep():\n"
        "    ctypes.CDLL(None).unshare(0x400)\n"
        "    file = open('/tmp/kept', 'w+b'); file.write(b'x' * told['size']); file.flush(); os.unlink('/tmp/kept')\n"
        "    time.sleep(60)\n"
        "threading.Thread(target=keep, daemon=True).start()",
    ],
    ids=["mapped", "in a thread of its own"],
)
def test_what_is_deleted_and_kept_all_the_same_counts(tmp_path: Path, hides: str):
    contained = Contained(tmp_path)
    outcome = contained.run(f"import mmap\n{hides}\ntime.sleep(60)", limited(folder_size=5_000_000), size=20_000_000)
    assert outcome.ending is Ending.EXCEEDED
    assert "5000000 bytes" in outcome.reason


def test_a_measure_follows_no_link_that_takes_the_place_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The function may exchange the two between a look at the name and a look inside."""
    (tmp_path / "attempt" / "folder").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for number in range(10):
        (tmp_path / "elsewhere" / str(number)).touch()

    def exchanged(place: int) -> Iterator[tuple[os.stat_result, str]]:
        found = list(quota_entries(place))
        if any(name == "folder" for _, name in found):
            (tmp_path / "attempt" / "folder").rmdir()
            (tmp_path / "attempt" / "folder").symlink_to(tmp_path / "elsewhere")
        yield from found

    quota_entries = quota._entries
    monkeypatch.setattr(quota, "_entries", exchanged)
    _, files = quota._kept([tmp_path / "attempt"], 100)
    assert files == 1
