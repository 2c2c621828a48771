"""Functions with requirements: their environment is made once, by uv and from wheels, kept, and only ever read."""

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog
from pydantic import SecretStr

from orchestrator import protos as pb
from orchestrator.embedded.ports import free_port
from tests.kit.disk import mounted
from tests.kit.wheels import wheel
from tests.kit.world import World
from workers.errors import BuildFault, InternalFault, Stopped
from workers.executors.executor import Ending, Job, Limits, Outcome
from workers.executors.local import Local
from workers.executors.sandbox import SandboxBox
from workers.functions import packages, reader
from workers.functions.environments import Allowed, Environments, Held
from workers.run.slot import FOLDERS
from workers.settings import WorkerSettings

LIMITS = Limits(time=60.0, grace=0.5, memory=None, file_size=10_000_000)
RUNS = '\nENTRYPOINT ["python3", "function.py"]\n'
TELLS = """
import alpha, os
outputs["model"].write_text(alpha.version + " " + sys.prefix)
outputs["score"].write_text('{"all": 1}')
try:
    open(os.path.join(sys.prefix, "mine"), "w")
except OSError:
    pass
else:
    sys.exit("an environment can be written to")
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    greets = {"alpha.py": "version = '1.0'\ndef main(): print('hi')\n"}
    wheel(folder, "alpha", "1.0", files=greets, scripts={"greet": "alpha:main"})
    wheel(folder, "alpha", "2.0")
    wheel(folder, "beta", "1.0", requires=["alpha<2"])
    wheel(folder, "gamma", "1.0", tag="cp311-cp311-win_amd64")
    wheel(folder, "setuptools", "70.0.0")
    return folder


@pytest.fixture
def settings(tmp_path: Path, wheels: Path) -> WorkerSettings:
    return WorkerSettings(
        organization="org-1",
        channels=("known",),
        address="127.0.0.1:9",
        broker_url="redis://127.0.0.1:9",
        store_root=str(tmp_path / "store"),
        store_url="https://store.example.org",
        work_dir=tmp_path / "work",
        package_folder=wheels,
        package_offline=True,
    )


Prepare = Callable[..., Held]


@pytest.fixture
def prepare(settings: WorkerSettings, tmp_path: Path) -> Prepare:
    def prepared(
        asked: str,
        given: WorkerSettings = settings,
        *,
        allowed: Allowed = Allowed(),  # noqa: B008 - a value
        go_on: Callable[[], None] = lambda: None,
        base: str = "python:3-slim",
    ) -> Held:
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        read = reader.read(f"FROM {base}\n{asked}{RUNS}", context, tmp_path / "written")
        return Environments(given, go_on).prepare(read, allowed)

    return prepared


def imported(held: Held, *names: str) -> str:
    """Return the versions of modules, as the environment's Python finds them."""
    assert held.environment.folder is not None
    words = f"import json, {', '.join(names)}; print(json.dumps([{', '.join(f'{name}.version' for name in names)}]))"
    said = subprocess.run(
        [held.environment.folder / "bin" / "python3", "-c", words], check=True, capture_output=True, timeout=30
    )
    return " ".join(json.loads(said.stdout))


def made(settings: WorkerSettings) -> list[str]:
    """Return the environments that are there, and what is left of others."""
    return [each.name for each in settings.environments_folder.iterdir() if each.is_dir() and each.name != "fetched"]


def test_what_is_asked_for_is_installed_with_what_it_needs_and_nothing_else(prepare: Prepare) -> None:
    held = prepare("RUN pip install --no-cache-dir beta")
    assert imported(held, "alpha", "beta") == "1.0 1.0"
    assert " + alpha==1.0" in held.notes
    with pytest.raises(subprocess.CalledProcessError):
        imported(held, "structlog")
    held.close()


def test_a_later_line_changes_what_an_earlier_one_installed(prepare: Prepare) -> None:
    held = prepare("RUN pip install alpha==1.0\nRUN pip install -U alpha")
    assert imported(held, "alpha") == "2.0"
    held.close()


def test_a_program_of_a_package_is_on_the_path(prepare: Prepare) -> None:
    held = prepare("RUN pip install beta")
    path = held.environment.programs(Path("/function"), Path("/nowhere"))
    said = subprocess.run(["greet"], env={"PATH": path}, check=True, capture_output=True, timeout=120)
    assert said.stdout == b"hi\n"
    held.close()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("RUN pip install nothere", r"line 2 [^$]*nothere was not found"),
        ("RUN pip install beta alpha==2.0", r"line 2 .*\n[^$]*unsatisfiable"),
        ("RUN pip install gamma", r"line 2 .*\n[^$]*no wheels with a matching"),
        (
            "COPY <<END r.txt\nalpha==1.0 --hash=sha256:" + 64 * "0" + "\nEND\nRUN pip install -r r.txt",
            "line 5 [^$]*Hash mismatch",
        ),
    ],
)
def test_what_cannot_be_met_is_the_functions_fault_and_leaves_nothing(
    prepare: Prepare, settings: WorkerSettings, asked: str, words: str
) -> None:
    with pytest.raises(BuildFault, match=words):
        prepare(asked)
    assert made(settings) == []


def test_an_index_that_does_not_answer_is_nobodys_fault_and_its_password_is_not_told(
    prepare: Prepare, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = f"http://somebody:pass%20word@127.0.0.1:{free_port()}/wheels"
    given = settings.model_validate(
        settings.model_dump() | {"package_index": index, "package_offline": False, "package_folder": None}
    )
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(InternalFault, match="could not be installed") as told:
        prepare("RUN pip install beta", given)
    password = urlsplit(index).password
    assert password
    assert password not in str(told.value)
    assert made(settings) == []


def test_a_build_whose_index_is_away_is_tried_again_and_one_that_asks_for_nothing_that_is_there_fails(
    world: World, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    away = f"http://127.0.0.1:{free_port()}/wheels"
    dockerfile = f"FROM python:3-slim\nRUN pip install beta{RUNS}"
    function, old = (world.function(TELLS, dockerfile) for _ in range(2))
    here = world.settings
    world.settings = here.model_copy(update={"package_index": SecretStr(away)})
    for number in (1, 2):
        world.build(function.key)
        assert function.status == pb.FUNCTION_STATUS_BUILDING
        assert len(world.recorded.delayed or ()) == number
    told = world.recorded.delayed or []
    assert told[0].function_key == function.key
    assert told[0].reason.startswith("what line 2 of the function's Dockerfile asks for could not be installed")
    assert len(told[0].reason) <= 500
    log = (world.store / "logs" / f"{function.key}-1").read_text()
    assert log.startswith("Not built yet, and tried again: what line 2")
    # An orchestrator of before knows no delays, and pokes again too.
    world.recorded.delayed = None
    world.build(old.key)
    assert old.status == pb.FUNCTION_STATUS_BUILDING
    world.settings = here.model_copy(update={"package_folder": wheels, "package_offline": True})
    world.build(function.key)
    assert function.status == pb.FUNCTION_STATUS_READY
    missing = world.function(TELLS, dockerfile.replace("beta", "async-timeout-nothere"))
    world.build(missing.key)
    assert missing.status == pb.FUNCTION_STATUS_FAILED
    (report,) = world.recorded.registered_reports
    assert report.error_type == pb.ERROR_TYPE_BUILD


@pytest.mark.parametrize("option", sorted(packages._INDEXES))
def test_an_index_of_the_functions_own_is_used_only_where_the_consent_policy_names_it(
    prepare: Prepare, option: str
) -> None:
    asked = f"RUN pip install beta {option} https://elsewhere.example.org/wheels/"
    with pytest.raises(BuildFault, match=r"line 2 .*names a package index"):
        prepare(asked)
    prepare(asked, allowed=Allowed(indexes=frozenset({"https://elsewhere.example.org/wheels"}))).close()


BACKEND = """
import pathlib, socket, zipfile


def get_requires_for_build_wheel(settings=None):
    return ["alpha==1.0"]


def build_wheel(folder, settings=None, metadata=None):
    import alpha, beta
    try:
        socket.create_connection(("127.0.0.1", PORT), 1)
    except OSError:
        reached = False
    else:
        reached = True
    described = "own-3.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, "own-3.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("own.py", f"version = '3.0 {reached} {pathlib.Path('SECRET').exists()}'")
        wheel.writestr(f"{described}/METADATA", "Metadata-Version: 2.1\\nName: own\\nVersion: 3.0\\n")
        wheel.writestr(f"{described}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{described}/RECORD", "")
"""
PROJECT = """
[build-system]
requires = ["beta"]
build-backend = "backend"
backend-path = ["."]
"""


@pytest.mark.parametrize("packed", [False, True])
def test_a_source_is_built_in_a_sandbox_and_only_where_the_consent_policy_says_so(
    prepare: Prepare, settings: WorkerSettings, tmp_path: Path, packed: bool
) -> None:
    settings.environments_folder.mkdir(parents=True)
    source = tmp_path / "context" / "own"
    source.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, secret = str(server.getsockname()[1]), str(settings.environments_folder)
        (source / "backend.py").write_text(BACKEND.replace("PORT", port).replace("SECRET", secret))
        (source / "pyproject.toml").write_text(PROJECT)
        asked = "RUN pip install ./own"
        if packed:
            shutil.make_archive(str(source), "gztar", source.parent, "own")
            asked = "COPY own.tar.gz /tmp/\nRUN pip install /tmp/own.tar.gz"
        with pytest.raises(BuildFault, match=r"line . .* built from its source.* `sources` in .* consent policy"):
            prepare(asked)
        held = prepare(asked, allowed=Allowed(sources=True))
    assert imported(held, "own") == "3.0 False False"
    held.close()
    (source / "backend.py").write_text("raise ValueError('a bad backend')")
    with pytest.raises(BuildFault, match=r"line 2 .* cannot be built [^$]*a bad backend"):
        prepare("RUN pip install -e own", allowed=Allowed(sources=True))


def test_many_who_need_the_same_make_it_once(prepare: Prepare, settings: WorkerSettings) -> None:
    with ThreadPoolExecutor(10) as pool:
        helds = list(pool.map(lambda _: prepare("RUN pip install beta"), range(10)))
    assert len({held.environment.folder for held in helds}) == 1
    assert len(made(settings)) == 1
    for held in helds:
        held.close()


def test_what_a_killed_maker_left_is_made_again(prepare: Prepare, settings: WorkerSettings) -> None:
    prepare("RUN pip install beta").close()
    (name,) = made(settings)
    whole = settings.environments_folder / name
    half = settings.environments_folder / f".{name}.killed"
    half.mkdir()
    whole.rename(half / "environment")
    held = prepare("RUN pip install beta")
    assert imported(held, "beta") == "1.0"
    assert made(settings) == [name]
    held.close()


MAKES = """
import sys
from pathlib import Path
from pydantic import SecretStr
from workers.functions import reader
from workers.functions.environments import Allowed, Environments
from workers.settings import WorkerSettings
settings, index, context, written = sys.argv[1:]
text = 'FROM python\\nRUN pip install beta\\nENTRYPOINT ["python3", "function.py"]'
read = reader.read(text, Path(context), Path(written))
given = WorkerSettings.model_validate_json(settings).model_copy(update={"package_index": SecretStr(index)})
Environments(given).prepare(read, Allowed())
"""


def test_a_maker_that_is_killed_in_the_middle_takes_its_installer_along(
    prepare: Prepare, settings: WorkerSettings, tmp_path: Path
) -> None:
    # An index that takes the connection and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/wheels"
        given = settings.model_validate(
            settings.model_dump() | {"package_index": index, "package_offline": False, "package_folder": None}
        )
        told = given.without_secrets(), index, str(tmp_path / "context"), str(tmp_path / "written")
        (tmp_path / "context").mkdir()
        child = subprocess.Popen([sys.executable, "-c", MAKES, *told])
        try:
            silent.settimeout(60)
            asks, _ = silent.accept()
        finally:
            child.kill()
            child.wait()
        with asks:
            held = prepare("RUN pip install beta")
    assert imported(held, "beta") == "1.0"
    assert len(made(settings)) == 1
    held.close()


def test_an_order_to_end_ends_the_installation(prepare: Prepare, settings: WorkerSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/wheels"
        given = settings.model_validate(
            settings.model_dump() | {"package_index": index, "package_offline": False, "package_folder": None}
        )
        silent.settimeout(0.0)

        def stop() -> None:
            with suppress(BlockingIOError):
                silent.accept()[0].close()
                raise Stopped("enough")

        with pytest.raises(Stopped):
            prepare("RUN pip install beta", given, go_on=stop)
    assert made(settings) == []


def test_the_longest_unused_go_first_and_what_is_held_stays(prepare: Prepare, settings: WorkerSettings) -> None:
    prepare("RUN pip install alpha==1.0").close()
    (first,) = made(settings)
    (lock,) = settings.environments_folder.glob("*.lock")
    size = json.loads(lock.read_text())["size"]
    small = settings.model_copy(update={"environment_cache_size": 2 * size + size // 2})
    held = prepare("RUN pip install alpha==2.0", small)
    with structlog.testing.capture_logs() as logs:
        prepare("RUN pip install beta", small).close()
    assert [entry["event"] for entry in logs] == ["environment.made", "environment.removed"]
    assert not list((settings.environments_folder / "fetched").rglob("*.whl"))
    assert held.environment.folder is not None
    assert len(made(settings)) == 2
    assert first not in made(settings)
    prepare("RUN pip install alpha==1.0", small).close()
    assert imported(held, "alpha") == "2.0"
    held.close()
    with pytest.raises(BuildFault, match="ORCHESTRATOR_ENVIRONMENT_CACHE_SIZE"):
        prepare("RUN pip install beta alpha", settings.model_copy(update={"environment_cache_size": size // 2}))


def test_a_full_disk_is_nobodys_fault_and_leaves_nothing(
    prepare: Prepare, settings: WorkerSettings, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", 32 * 1024) as is_there:
        if not is_there:
            pytest.skip("no disk can be mounted here")
        full = settings.model_copy(update={"environment_dir": tmp_path / "disk" / "environments"})
        with pytest.raises((InternalFault, OSError)):
            prepare("RUN pip install beta", full)
        assert made(full) == []


def test_another_python_of_this_machine_is_taken_or_the_line_is_named(prepare: Prepare) -> None:
    minor = sys.version_info.minor
    with pytest.raises(BuildFault, match=rf"line 1 .*python:3.{minor + 7}-slim.* asks for Python 3.{minor + 7}"):
        prepare("", base=f"python:3.{minor + 7}-slim")
    assert prepare("", base=f"python:3.{minor}-slim").environment.folder is None


def test_what_the_workers_own_python_has_is_not_installed_again(prepare: Prepare, settings: WorkerSettings) -> None:
    held = prepare("RUN pip install structlog 'click>=8'")
    assert held.environment.folder is None
    assert "own Python has all" in held.notes[0]


@pytest.mark.parametrize("executor", ["sandbox", "subprocess"])
def test_a_task_runs_with_what_its_function_asks_for(world: World, wheels: Path, executor: str) -> None:
    world.settings = world.settings.model_copy(
        update={"package_folder": wheels, "package_offline": True, "executor": executor}
    )
    tells = TELLS if executor == "sandbox" or os.geteuid() else TELLS.partition("try:")[0]
    function = world.function(tells, "FROM python:3-slim\nENV WORD=said\nRUN pip install alpha==2.0" + RUNS)
    world.build(function.key)
    assert function.status == pb.FUNCTION_STATUS_READY
    world.claim(function)
    world.run()
    (done,) = world.recorded.completed
    (model,) = done.models
    said, place = (world.store / "models" / model.key).read_text().split()
    assert said == "2.0"
    assert place == "/environment" if executor == "sandbox" else Path(place).is_relative_to(world.root)


def test_a_task_fails_as_build_in_the_words_of_its_functions_owner(world: World) -> None:
    function = world.function(TELLS, "FROM python:3-slim\nRUN apt-get install -y no-such-package" + RUNS)
    world.build(function.key)
    (report,) = world.recorded.registered_reports
    assert report.error_type == pb.ERROR_TYPE_BUILD
    said = (world.store / "logs" / f"{function.key}-1").read_text().partition(": ")[2]
    world.claim(function)
    world.run()
    failed, text = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_BUILD
    assert text.strip().partition(": ")[2] == said.strip()
    assert "line 2" in said
    assert "no-such-package" in said
    assert "`container`" in said


SHOWS = """
import sys
known = sorted(sys.modules)
import alpha, os
print(alpha.version, alpha.__file__, sys.path, sys.prefix, sys.executable, known)
print(sorted(os.environ.items()), os.getcwd(), os.listdir("."))
print(sorted((line.split()[4], line.split()[5]) for line in open("/proc/self/mountinfo")))
"""


@dataclass
class Runs:
    """Runs of one function, of which the next is prepared in the environment of the one before."""

    root: Path
    executor: Local = field(default_factory=lambda: Local(SandboxBox()))

    def run(self, held: Held, *, prepare: bool) -> tuple[str, bool]:
        """Return what the function says, and whether it ran in what was prepared."""
        folder = self.root / uuid.uuid4().hex
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        if prepare:
            assert self.executor.prepare(folder, LIMITS)
            assert self.executor.prepared(folder, 30.0)
        (folder / "function" / "f.py").write_text(SHOWS)
        job = Job(
            folder,
            ["python3", "f.py"],
            replace(LIMITS, time=30.0),
            prepared=folder if prepare else None,
            environment=held.environment,
        )
        before = self.executor._runs[folder].launcher if prepare else None
        self.executor.start(job)
        used = self.executor._runs[folder].launcher is before
        while (outcome := self.executor.outcome(folder, 1.0)) is None:
            pass
        assert self.executor.end(folder, 0.0)
        said = (folder / "log").read_text()
        assert outcome == Outcome(Ending.EXITED, 0), said
        return said, used


def test_what_is_prepared_has_the_environment_of_the_function_before(prepare: Prepare, tmp_path: Path) -> None:
    one = prepare(
        "ENV WORD=said PYTHONPATH=/app/lib\nWORKDIR /app\nENV PYTHONPATH=/app/lib\nRUN pip install alpha==1.0"
    )
    other = prepare("RUN pip install alpha==2.0")
    runs = Runs(tmp_path / "runs")
    fresh, used = runs.run(one, prepare=False)
    assert not used
    assert "/function/lib" in fresh
    assert runs.run(one, prepare=True) == (fresh, True)
    said, used = runs.run(other, prepare=True)
    assert said.startswith("2.0 ")
    assert not used
    assert runs.run(other, prepare=True) == (said, True)
    one.close()
    other.close()
