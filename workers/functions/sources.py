"""Builds wheels from sources of a function's archive: in a sandbox without the network, as no code runs elsewhere.

What a build needs (`build-system.requires` of pyproject.toml, and what its backend asks for besides) is installed from
wheels before, by the worker.
"""

import json
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.errors import BuildFault, InternalFault
from workers.executors import sandbox, watch
from workers.executors.executor import LOG, Ending, Environment, Job, Limits, UnfitError
from workers.functions import archive
from workers.functions.installing import Installer
from workers.functions.packages import Install
from workers.functions.pythons import Python
from workers.settings import WorkerSettings

_FOLDERS = ("function", "inputs", "outputs", "home")
_SHOWN = 4000
# The hooks of PEP 517, called by the function's own Python.
_HOOKS = """
import importlib, json, os, sys
sys.argv, told = sys.argv[:1], json.load(open("told.json"))
os.chdir("source")
sys.path[:0] = [os.path.abspath(path) for path in told["path"]]
name, _, attribute = told["backend"].partition(":")
backend = importlib.import_module(name)
for part in filter(None, attribute.split(".")):
    backend = getattr(backend, part)
if told["hook"] == "requires":
    asked = getattr(backend, "get_requires_for_build_wheel", lambda settings=None: [])
    with open("/outputs/requires", "w") as file:
        json.dump(list(asked()), file)
else:
    backend.build_wheel("/outputs")
"""


@dataclass(frozen=True)
class _Order:
    """An order to end, as `watch` asks for it: whoever gives it raises."""

    go_on: Callable[[], None]

    def is_set(self) -> bool:
        self.go_on()
        return False


class Sources:
    """Builds what is not a wheel.

    Args:
        settings: the worker's.
        installer: installs what a build needs.
        python: that the wheels are for.
        go_on: is called while a build runs, and may raise to end it.
        folder: to work in; nobody else does.
    """

    def __init__(
        self, settings: WorkerSettings, installer: Installer, python: Python, go_on: Callable[[], None], folder: Path
    ) -> None:
        self._settings = settings
        self._installer = installer
        self._python = python
        self._go_on = go_on
        self._folder = folder
        self._executor = sandbox.make(settings)

    def wheel(self, source: Path, line: int) -> Path:
        """Build a wheel; return its file.

        Args:
            source: a folder, or an archive of one.
            line: of the Dockerfile that asks for it.

        Raises:
            BuildFault: it cannot be built.
            InternalFault: it cannot be built now, or not on this machine.
            OSError: the disk does not take it.
        """
        try:
            self._executor.check()
        except UnfitError as error:
            raise InternalFault(f"{source.name} is built from its source, in a sandbox alone: {error}") from error
        work = self._folder / f"source-{len(list(self._folder.iterdir()))}"
        for name in _FOLDERS:
            (work / name).mkdir(parents=True)
        unpacked = self._unpacked(source, work / "function" / "source")
        system = _build_system(unpacked, line)
        environment = work / "environment"
        self._installer.make(self._python, environment)
        self._install(list(system.get("requires", ())), environment, line)
        told = {
            "backend": system.get("build-backend", "setuptools.build_meta:__legacy__"),
            "path": system.get("backend-path", ["."] if "build-backend" not in system else []),
        }
        self._run(work, environment, {**told, "hook": "requires"}, line)
        self._install(json.loads((work / "outputs" / "requires").read_text()), environment, line)
        self._run(work, environment, {**told, "hook": "wheel"}, line)
        found = list((work / "outputs").glob("*.whl"))
        if len(found) != 1 or found[0].is_symlink() or not found[0].is_file():
            raise BuildFault(f"line {line} of the function's Dockerfile: the build of {source.name} made no wheel")
        return found[0]

    def _unpacked(self, source: Path, target: Path) -> Path:
        if source.is_dir():
            shutil.copytree(source, target)
            return target
        target.mkdir()
        archive.unpack(source, target, self._settings.archive_size_limit)
        inside = list(target.iterdir())
        if len(inside) == 1 and inside[0].is_dir():
            moved = target.with_name("moved")
            inside[0].rename(moved)
            target.rmdir()
            moved.rename(target)
        return target

    def _install(self, requirements: list[str], environment: Path, line: int) -> None:
        if requirements:
            self._installer.install(Install(requirements=requirements, line=line), environment)

    def _run(self, work: Path, environment: Path, told: dict[str, Any], line: int) -> None:
        (work / "function" / "told.json").write_text(json.dumps(told))
        (work / "function" / "hooks.py").write_text(_HOOKS)
        (work / LOG).write_bytes(b"")
        settings = self._settings
        limits = Limits(
            time=settings.package_time_limit,
            grace=0.0,
            memory=settings.task_memory_limit,
            file_size=settings.output_size_limit,
            folder_size=settings.task_folder_limit,
            folder_files=settings.task_file_limit,
            processes=settings.task_process_limit,
            log_size=settings.task_log_limit,
        )
        has = Environment(environment, self._python.bases)
        job = Job(work, ["python3", "hooks.py"], limits, environment=has)
        outcome = watch.run(self._executor, job, _Order(self._go_on))
        if outcome.ending is not Ending.EXITED or outcome.exit_code != 0:
            said = (work / LOG).read_text(encoding="utf-8", errors="replace")[-_SHOWN:].strip()
            how = outcome.reason or f"it {outcome.ending.value}"
            raise BuildFault(f"line {line} of the function's Dockerfile: a source cannot be built ({how}):\n{said}")


def _build_system(source: Path, line: int) -> dict[str, Any]:
    file = source / "pyproject.toml"
    where = f"line {line} of the function's Dockerfile"
    if not file.is_file():
        if not (source / "setup.py").is_file():
            raise BuildFault(f"{where}: what is to be built has neither a pyproject.toml nor a setup.py")
        return {"requires": ["setuptools"]}
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8")).get("build-system", {"requires": ["setuptools"]})
    except ValueError as error:
        raise BuildFault(f"{where}: its pyproject.toml cannot be read: {error}") from error
    parts = [*found.get("requires", ()), *found.get("backend-path", ()), found.get("build-backend", "")]
    if not all(isinstance(part, str) for part in parts):
        raise BuildFault(f"{where}: the build-system of its pyproject.toml cannot be read")
    return dict(found)
