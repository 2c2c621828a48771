"""The environments of functions: one for each set of requirements, made once, kept, shared by all attempts.

An environment is made in a folder beside its own and moved when it is whole, so that one that is there is good; who
makes it holds a lock that the kernel takes away however that ends. Functions may only read it. An attempt holds it
shared as long as it runs; the longest unused go when all take more room than they may.
"""

import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from orchestrator.removal import remove
from workers.errors import BuildFault, InternalFault
from workers.executors.executor import Environment
from workers.functions import installed, pythons
from workers.functions.installing import Installer
from workers.functions.packages import Install
from workers.functions.pythons import Python
from workers.functions.recipe import Recipe
from workers.functions.sources import Sources
from workers.functions.stage import own_python
from workers.settings import WorkerSettings

log = structlog.get_logger()

_FORMAT = 1
_POLL_SECONDS = 0.1
_CLEAN_SECONDS = 30.0
_LOCK, _CACHE = ".lock", "fetched"


@dataclass(frozen=True)
class Allowed:
    """What a consent policy allows a function besides wheels of the worker's index.

    Args:
        sources: whether what is no wheel may be built.
        indexes: URLs of indexes that it may name.
    """

    sources: bool = False
    indexes: frozenset[str] = frozenset()


class Held:
    """An environment that is not removed as long as it is held.

    Args:
        environment: what the function has.
        lock: a descriptor; None where there is nothing to hold.
        notes: lines of the build's log.
    """

    def __init__(self, environment: Environment, lock: int | None = None, notes: tuple[str, ...] = ()) -> None:
        self.environment = environment
        self.notes = notes
        self._lock = lock

    def close(self) -> None:
        """Let go of it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


class Environments:
    """The environments of an organization on this machine.

    Args:
        settings: the worker's.
        go_on: is called while something is waited for, and may raise to end that.
    """

    def __init__(self, settings: WorkerSettings, go_on: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._folder = settings.environments_folder.absolute()
        self._go_on = go_on

    def prepare(self, recipe: Recipe, allowed: Allowed) -> Held:
        """Return what a function has of Python, made where it is not there yet.

        Args:
            recipe: of the function.
            allowed: what the consent policy allows it.

        Raises:
            BuildFault: it cannot be had.
            InternalFault: it cannot be had now.
            OSError: the disk does not take it.
        """
        python = pythons.find(recipe.python, list(map(Path, self._settings.function_pythons)), self._settings.private)
        if python is None:
            raise BuildFault(
                f"{recipe.base} asks for Python {recipe.python}, and the worker {self._settings.organization}@"
                f"{self._settings.node} has none besides {own_python()}: name one with ORCHESTRATOR_FUNCTION_PYTHONS, "
                "or use the executor `container`, which builds the function's image"
            )
        _check(recipe.installs, allowed)
        own = Environment(variables=recipe.variables, path=recipe.path)
        if python.is_own and not recipe.installs:
            return Held(own)
        if python.is_own and installed.holds(recipe.installs):
            return Held(own, notes=("the worker's own Python has all that the function asks for",))
        name = _name(python, recipe.installs)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        until = self._deadline()
        while True:
            lock = self._lock(name, fcntl.LOCK_SH)
            if self._is_whole(name):
                os.utime(lock)
                folder = self._folder / name
                return Held(Environment(folder, python.bases, recipe.variables, recipe.path), lock, _said(folder))
            os.close(lock)
            # Not waited for: who has made it meanwhile holds it as long as functions run in it.
            alone = self._try(name, fcntl.LOCK_EX)
            if alone is None:
                self._wait(until)
                continue
            try:
                if not self._is_whole(name):
                    self._make(name, python, recipe.installs, alone)
            finally:
                os.close(alone)
            self._shrink(name)

    def _is_whole(self, name: str) -> bool:
        # The Python that it was made from may be gone.
        return (self._folder / name / "bin" / "python").exists()

    def _make(self, name: str, python: Python, installs: tuple[Install, ...], held: int) -> None:
        for rest in (*self._drafts(name), self._folder / name):
            remove(rest)
        draft = self._folder / f".{name}.{uuid.uuid4().hex[:8]}"
        draft.mkdir(mode=0o700)
        try:
            made, began = draft / "environment", time.monotonic()
            with closing(Installer(self._settings, self._folder / _CACHE, self._go_on, held)) as installer:
                installer.make(python, made)
                said = []
                for install in installs:
                    wheels = self._built(install, python, installer, draft)
                    said.append(installer.install(install, made, wheels))
            (made / "said").write_text("\n".join(filter(None, map(str.strip, said))), encoding="utf-8")
            size = _size(made)
            if size > self._settings.environment_cache_size:
                raise BuildFault(
                    f"what the function asks for takes {size} bytes, and all environments together may take "
                    f"{self._settings.environment_cache_size}, the worker's ORCHESTRATOR_ENVIRONMENT_CACHE_SIZE"
                )
            # What is there after a power cut must be whole.
            os.sync()
            os.ftruncate(held, 0)
            os.pwrite(held, json.dumps({"size": size}).encode(), 0)
            made.rename(self._folder / name)
            # Not before: who may not write to a folder may not move it.
            _close(self._folder / name)
            log.info("environment.made", environment=name[:12], bytes=size, seconds=round(time.monotonic() - began, 1))
        finally:
            with suppress(OSError):
                remove(draft)

    def _built(self, install: Install, python: Python, installer: Installer, draft: Path) -> list[Path]:
        if not install.sources:
            return []
        sources = Sources(self._settings, installer, python, self._go_on, draft)
        return [sources.wheel(source, install.line) for source in install.sources]

    def _shrink(self, spared: str) -> None:
        """Remove what was fetched, then the longest unused environments, until they take no more than they may."""
        known = []
        for file in self._folder.glob(f"*{_LOCK}"):
            with suppress(OSError, ValueError, KeyError):
                known.append((file.stat().st_mtime_ns, int(json.loads(file.read_text())["size"]), file.stem))
        total = sum(size for _, size, _ in known)
        fetched = self._folder / _CACHE
        if total + _size(fetched, alone=True) > self._settings.environment_cache_size and fetched.exists():
            self._forget_fetched(fetched)
        for _, size, name in sorted(known):
            if total <= self._settings.environment_cache_size:
                return
            if name != spared and self._remove(name):
                total -= size

    def _forget_fetched(self, fetched: Path) -> None:
        lock = os.open(self._folder, os.O_RDONLY)
        try:
            with closing(Installer(self._settings, fetched, self._go_on, lock)) as installer:
                installer.clean(_CLEAN_SECONDS)
        except InternalFault as fault:
            log.warning("environment.cache_not_cleaned", reason=str(fault))
        finally:
            os.close(lock)

    def _remove(self, name: str) -> bool:
        lock = self._try(name, fcntl.LOCK_EX)
        if lock is None:
            return False
        try:
            for rest in (*self._drafts(name), self._folder / name):
                remove(rest)
            (self._folder / f"{name}{_LOCK}").unlink(missing_ok=True)
        finally:
            os.close(lock)
        log.info("environment.removed", environment=name[:12])
        return True

    def _drafts(self, name: str) -> list[Path]:
        return list(self._folder.glob(f".{name}.*"))

    def _lock(self, name: str, kind: int) -> int:
        until = self._deadline()
        while (lock := self._try(name, kind)) is None:
            self._wait(until)
        return lock

    def _deadline(self) -> float:
        return time.monotonic() + 2 * self._settings.package_time_limit

    def _wait(self, until: float) -> None:
        self._go_on()
        if time.monotonic() > until:
            raise InternalFault("another process prepares what the function asks for, and does not end")
        time.sleep(_POLL_SECONDS)

    def _try(self, name: str, kind: int) -> int | None:
        file = self._folder / f"{name}{_LOCK}"
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            # Its last holder may have removed it.
            if file.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)
        return None


def _check(installs: tuple[Install, ...], allowed: Allowed) -> None:
    for install in installs:
        if install.sources and not allowed.sources:
            raise BuildFault(
                f"line {install.line} of the function's Dockerfile would have {install.sources[0].name} built from its "
                "source, and only wheels are installed: build one, and put it into the function's folder, or have the "
                "function's owner named under `sources` in this organization's consent policy, or use the executor "
                "`container`, which builds the function's image"
            )
        for index in install.indexes:
            if index.rstrip("/") not in allowed.indexes:
                raise BuildFault(
                    f"line {install.line} of the function's Dockerfile names a package index, and packages come from "
                    "the worker's own index, or from one that is named under `indexes` in its consent policy; leave it "
                    "out, or use the executor `container`, which builds the function's image"
                )


def _name(python: Python, installs: tuple[Install, ...]) -> str:
    """Return the name of an environment: what it is made of, so that the same is the same."""
    asked = []
    for install in installs:
        content = asdict(install)
        content.pop("line")
        for kind in ("wheels", "sources"):
            content[kind] = [_digest(file) for file in content[kind]]
        asked.append(content)
    whole = [_FORMAT, str(python.program), python.version, asked]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:40]


def _digest(path: Path) -> list[str]:
    """Return what a file or a folder is, wherever it lies."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return [
        path.name if path.is_file() else "",
        *(f"{each.relative_to(path)} {hashlib.sha256(each.read_bytes()).hexdigest()}" for each in files),
    ]


def _said(folder: Path) -> tuple[str, ...]:
    with suppress(OSError):
        return tuple((folder / "said").read_text(encoding="utf-8").splitlines())
    return ()


def _size(folder: Path, *, alone: bool = False) -> int:
    """Return the bytes of disk of a folder; with `alone` only those of files that lie nowhere else too."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            with suppress(FileNotFoundError):
                status = os.lstat(Path(place, file))
                total += status.st_blocks * 512 if not alone or status.st_nlink == 1 else 0
    return total


def _close(folder: Path) -> None:
    """Have nobody write to an environment by mistake: what runs as the worker's user may."""
    for place, _, _ in os.walk(folder):
        Path(place).chmod(0o555)
