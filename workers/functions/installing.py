"""Installs packages into a virtual environment with uv: from the worker's index, wheels alone."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from uv import find_uv_bin

from workers.errors import AwayFault, BuildFault, InternalFault
from workers.executors.launcher import options
from workers.executors.launcher.options import Options
from workers.executors.launching import ForkServer, Launched
from workers.functions.packages import Install, hidden
from workers.functions.pythons import Python
from workers.settings import WorkerSettings

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0
_OPEN_FILES = 65_536
_LOG_SIZE = 1024 * 1024
_SHOWN = 4000
# Of this worker's environment, what an installer needs to reach an index.
_PASSED_ON = frozenset(
    name
    for lower in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")
    for name in (lower, lower.upper())
) | {"UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"}
# What uv says when requirements cannot be met, whoever asks, and however often.
_ASKED = re.compile(
    r"No solution found|unsatisfiable|[Hh]ash mismatch|Failed to parse|must be pinned|--require-hashes|not compatible|"
    r"no wheels|[Ii]nvalid|does not satisfy|mismatch"
)
_NOT_ASKED = re.compile(r"No space left|Disk quota|Permission denied|Read-only file system")


# What says that an index was not reached, or could not answer: another time it may.
_AWAY = re.compile(
    r"error sending request|dns error|operation timed out|network timeout|tcp connect error|"
    r"[Cc]onnection (refused|reset)|HTTP status server error|429 Too Many Requests"
)


class Installer:
    """Makes environments, and installs into them.

    Args:
        settings: the worker's: which index.
        cache: a folder for what is fetched.
        go_on: is called all the time, and may raise to end what runs.
        held: a descriptor that what runs holds too, so that whoever waits for its lock waits for its end.
    """

    def __init__(self, settings: WorkerSettings, cache: Path, go_on: Callable[[], None], held: int) -> None:
        self._settings = settings
        self._cache = cache
        self._go_on = go_on
        self._held = held
        self._until = time.monotonic() + settings.package_time_limit
        self._server = ForkServer()
        self._how = Options(
            grace=0.0,
            memory=0,
            file_size=settings.environment_cache_size,
            open_files=_OPEN_FILES,
            processes=0,
            log_size=_LOG_SIZE,
        )

    def close(self) -> None:
        """End the process that starts what runs."""
        self._server.stop()

    def make(self, python: Python, folder: Path) -> None:
        """Make an empty environment, which may be moved.

        Args:
            python: what it is made from.
            folder: is not there yet.

        Raises:
            InternalFault: it cannot be made.
        """
        self._run(["venv", "--relocatable", "--python", str(python.program), str(folder)], folder.parent, "")

    def install(self, install: Install, folder: Path, wheels: Sequence[Path] = ()) -> str:
        """Install what is asked for; return what was installed, for people.

        Args:
            install: what.
            folder: of the environment; files are left beside it.
            wheels: that were built for it.

        Raises:
            BuildFault: it cannot be had so.
            InternalFault: it cannot be had now.
        """
        where = f"line {install.line} of the function's Dockerfile"
        asked, limits = folder.with_name("requirements.txt"), folder.with_name("constraints.txt")
        # A path of the archive may have letters that mean something else in a file of requirements.
        place = folder.with_name("wheels")
        place.mkdir(exist_ok=True)
        files = [place / file.name for file in (*install.wheels, *wheels)]
        for source, file in zip((*install.wheels, *wheels), files, strict=True):
            shutil.copyfile(source, file)
        asked.write_text("\n".join([*install.requirements, *map(str, files)]) + "\n", encoding="utf-8")
        limits.write_text("\n".join(install.constraints) + "\n", encoding="utf-8")
        words = ["pip", "install", "--python", str(folder / "bin" / "python"), "--only-binary", ":all:"]
        words += ["--compile-bytecode", "--requirements", str(asked), *install.options]
        if install.constraints:
            words += ["--constraints", str(limits)]
        for index in install.indexes:
            words += ["--index", index]
        return self._run([*words, *self._sources()], folder.parent, where)

    def clean(self, seconds: float) -> None:
        """Forget what was fetched before, as soon as nobody uses it.

        Args:
            seconds: to wait for that at most.

        Raises:
            InternalFault: it cannot be removed.
        """
        self._until = time.monotonic() + seconds
        with tempfile.TemporaryDirectory() as folder:
            self._run(["cache", "clean"], Path(folder), "")

    def _sources(self) -> list[str]:
        settings, words = self._settings, []
        if settings.package_folder is not None:
            words += ["--find-links", str(settings.package_folder)]
        if settings.package_offline:
            words.append("--offline")
            if settings.package_index is None and settings.package_folder is not None:
                words.append("--no-index")
        return words

    def _environment(self, home: Path) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        index = self._settings.package_index
        # Not a word of the command line, which all users of the machine may read.
        secret = {} if index is None else {"UV_DEFAULT_INDEX": index.get_secret_value()}
        return {"PATH": os.defpath, "HOME": str(home), "UV_CACHE_DIR": str(self._cache), **passed, **secret}

    def _run(self, words: list[str], folder: Path, where: str) -> str:
        """Run uv to its end; return what it said."""
        program = [find_uv_bin(), *words, "--no-config", "--no-progress", "--no-python-downloads", "--system-certs"]
        with (folder / "said").open("w+b") as said:
            environment = self._environment(folder)
            # It ends with us, however we do.
            run = self._server.launch(
                folder, self._how, [*program, "--color", "never"], environment, said.fileno(), self._held
            )
            with closing(run):
                self._wait(run, where)
            said.seek(0)
            text = self._without_secrets(said.read().decode(errors="replace"))
        if run.code != 0:
            raise self._fault(text, where)
        return text

    def _wait(self, run: Launched, where: str) -> None:
        try:
            while not run.ended(_POLL_SECONDS):
                self._go_on()
                if time.monotonic() > self._until:
                    limit = self._settings.package_time_limit
                    raise AwayFault(
                        f"what {where or 'the function'} asks for was not installed within {limit:g} seconds, the "
                        "worker's ORCHESTRATOR_PACKAGE_TIME_LIMIT"
                    )
        finally:
            if run.code is None:
                run.tell(options.KILL)
                run.ended(_PATIENCE_SECONDS)

    def _fault(self, text: str, where: str) -> BuildFault | InternalFault:
        lines = [line for line in text.splitlines() if not line.startswith(("Using Python", "Resolved "))]
        why = "\n".join(lines).strip()[:_SHOWN]
        away = _AWAY.search(text)
        if where and _ASKED.search(text) and not _NOT_ASKED.search(text) and not away:
            return BuildFault(f"{where} asks for packages that cannot be installed here:\n{why}")
        kind = AwayFault if away else InternalFault
        return kind(f"what {where or 'a function'} asks for could not be installed:\n{why}")

    def _without_secrets(self, text: str) -> str:
        index = self._settings.package_index
        if index is not None:
            secret = index.get_secret_value()
            parts = urlsplit(secret)
            for each in sorted(filter(None, {secret, parts.password or ""}), key=len, reverse=True):
                text = text.replace(each, "…")
        return hidden(text)
