"""The images of functions on this machine: each is built once, named by its archive's checksum, and kept for a while.

Beside the engine's store lies a file for each in the worker's: locked by who builds it, touched by who uses it. By it
the longest unused are found when all take more room than they may.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from workers.executors.engine import Engine, EngineError
from workers.executors.image import AwayError, Image, ImageError, Waiting
from workers.settings import WorkerSettings

log = structlog.get_logger()

NAME = "localhost/orchestrator-function"
"""The name of all images of functions; their tags tell which."""

_POLL_SECONDS = 0.1
_LOCK = ".lock"
_SHOWN = 2000
# What programs say when what they want of the network cannot be reached.
_AWAY = re.compile(
    r"connection refused|no such host|i/o timeout|TLS handshake timeout|network is unreachable|toomanyrequests|"
    r"503 Service Unavailable|502 Bad Gateway|Temporary failure in name resolution",
    re.IGNORECASE,
)


class ImageStore:
    """The images of functions.

    Args:
        settings: the worker's.
        engine: that keeps them.
    """

    def __init__(self, settings: WorkerSettings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._folder = settings.images_folder.absolute()

    def fetch(self, name: str, waiting: Waiting) -> Image:
        """Have an image here; see `image.Imaging`."""
        if not self._is_there(name):
            code, said = self._follow(["pull", "--quiet", name], waiting, f"the image {name}")
            if code:
                raise AwayError(f"the image {name} cannot be fetched: {_end(said)}")
        return Image(name)

    def build(self, function: Path, checksum: str, bases: Iterable[str], network: bool, waiting: Waiting) -> Image:
        """Build the image of a function, where it is not there; see `image.Building`."""
        name = f"{NAME}:{checksum[:40].lower()}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone(checksum[:40].lower(), waiting) as held:
            if not self._is_there(name):
                for base in bases:
                    self.fetch(base, waiting)
                begun = time.monotonic()
                self._build(function, name, network, waiting)
                os.ftruncate(held, 0)
                os.pwrite(held, json.dumps({"size": self._own_size(name)}).encode(), 0)
                log.info("image.built", image=name, seconds=round(time.monotonic() - begun, 1))
            os.utime(held)
        self.shrink(name)
        return Image(name, whole=True)

    def shrink(self, spared: str = "") -> None:
        """Remove the images that nobody used for long, and the longest unused when all take more than they may.

        Args:
            spared: the name of one that is in use.

        Raises:
            OSError: the files that tell of them cannot be read.
        """
        known = []
        for file in self._folder.glob(f"*{_LOCK}"):
            with suppress(OSError, ValueError, KeyError):
                known.append((file.stat().st_mtime, int(json.loads(file.read_text())["size"]), file.stem))
        total, now = sum(size for _, size, _ in known), time.time()
        age = self._settings.image_cache_age
        for used, size, tag in sorted(known):
            old = bool(age) and now - used > age
            if (old or total > self._settings.image_cache_size) and f"{NAME}:{tag}" != spared and self._remove(tag):
                total -= size

    def _build(self, function: Path, name: str, network: bool, waiting: Waiting) -> None:
        flags = [] if network else ["--network=none"]
        if self._engine.is_podman:
            # Layers that are kept for the next would be kept for ever.
            flags += ["--layers=false", "--pull=never", "--format=docker", "--http-proxy=false"]
        code, said = self._follow(
            ["build", *flags, f"--file={function / 'Dockerfile'}", f"--tag={name}", str(function)],
            waiting,
            "the function's image",
        )
        # What has no network says so, too.
        if code and network and _AWAY.search(said):
            raise AwayError(f"the function's image cannot be built now: {_end(said)}")
        if code:
            why = "" if network else "; its commands may not use the network"
            raise ImageError(f"the function's image cannot be built: {_end(said)}{why}", said)

    def _follow(self, words: list[str], waiting: Waiting, what: str) -> tuple[int, str]:
        try:
            return self._engine.follow(words, self._settings.image_time_limit, waiting)
        except TimeoutError as error:
            raise AwayError(f"{what} cannot be had: {error}, ORCHESTRATOR_IMAGE_TIME_LIMIT") from error

    def _is_there(self, name: str) -> bool:
        try:
            self._engine.ask("image", "inspect", "--format={{.Id}}", name)
        except EngineError:
            return False
        return True

    def _own_size(self, name: str) -> int:
        """Return the bytes of what was built; by docker, which does not tell, with those of the image below it."""
        with suppress(EngineError, ValueError, LookupError):
            if self._engine.is_podman:
                # It is one layer.
                return int(json.loads(self._engine.ask("history", "--format=json", name))[0]["size"])
            return int(self._engine.ask("image", "inspect", "--format={{.Size}}", name))
        return 0

    def _remove(self, tag: str) -> bool:
        lock = self._try(tag)
        if lock is None:
            return False
        try:
            name = f"{NAME}:{tag}"
            # Without force: one in which something runs stays.
            if self._is_there(name):
                self._engine.ask("image", "rm", name)
            (self._folder / f"{tag}{_LOCK}").unlink(missing_ok=True)
        except EngineError as error:
            log.info("image.kept", image=tag[:12], reason=str(error))
            return False
        finally:
            os.close(lock)
        log.info("image.removed", image=tag[:12])
        return True

    @contextmanager
    def _alone(self, tag: str, waiting: Waiting) -> Iterator[int]:
        """Hold the lock of an image."""
        deadline = time.monotonic() + 2 * self._settings.image_time_limit
        while (lock := self._try(tag)) is None:
            waiting()
            if time.monotonic() > deadline:
                raise AwayError("another process builds the function's image, and does not end")
            time.sleep(_POLL_SECONDS)
        try:
            yield lock
        finally:
            os.close(lock)

    def _try(self, tag: str) -> int | None:
        file = self._folder / f"{tag}{_LOCK}"
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed it.
            if file.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)
        return None


def _end(said: str) -> str:
    """Return the last words of an engine in one line."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    text = " / ".join(lines[-3:]).replace("Error: ", "")
    return text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"
