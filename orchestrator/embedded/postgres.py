"""An embedded Postgres: the database of a federation on one machine."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from orchestrator.embedded.ports import HOST
from orchestrator.embedded.postgres_binaries import find_binaries, make_reachable
from orchestrator.embedded.processes import Process, ProcessError, launcher
from orchestrator.embedded.server import Server
from orchestrator.embedded.users import User, can_reach, unprivileged_user
from orchestrator.files import whole
from orchestrator.removal import remove

_SUPERUSER = "orchestrator"
_START_SECONDS = 60.0  # of which nearly all is recovery, after a crash under load
_PREDECESSOR_SECONDS = 10.0
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
# Safe as long as the machine runs on: a killed server still finds its commits in the kernel's cache.
_NO_FSYNC = {"fsync": "off", "full_page_writes": "off"}


def forget_variables() -> None:
    """Take the variables of libpq, as `PGSSLMODE`, from this process: they are meant for other databases."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


class Postgres(Server):
    """A Postgres server on a port of 127.0.0.1, which stays the same over restarts.

    As root, the server runs as the user `nobody`. If that user cannot enter the folder (below a home of mode
    0700, say), the data, and the programs if need be, are kept below /var/tmp or the temporary folder, and
    the file `location` in the folder says where; no mode of a folder above is changed.

    Args:
        folder: for the data, the password and the log; made and filled on first use, and ours alone.
        fsync: make each commit survive a power failure; False is for tests.
        settings: more of Postgres' settings, name to value.
        port: where it listens; a free one by default.
    """

    name = "postgres"

    def __init__(
        self,
        folder: Path,
        *,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._settings = {**({} if fsync else _NO_FSYNC), **(settings or {})}
        self._user = unprivileged_user()
        super().__init__(port)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, with the password: never log it.

        Raises:
            FileNotFoundError: it was never started.
        """
        password = (self._folder / "password").read_text()
        return f"postgresql://{_SUPERUSER}:{password}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, preparing the data folder on first use, and wait until it answers a query.

        Raises:
            ProcessError: there are no programs, the folder cannot be used, another server uses it, or the
                server does not answer; the message is one line.
        """
        self._check_down()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            home = self._find_home()
            binaries = find_binaries()
            if self._user is not None:
                binaries = make_reachable(binaries, self._user, home)
            data = home / "data"
            _await_predecessor(data)
            if not data.exists():
                self._initialize(binaries, data)
            self._process = self._server(binaries, data)
            self._process.start()
        except OSError as error:
            place = error.filename or self._folder
            raise ProcessError(f"postgres cannot use the folder {self._folder}: {error.strerror}: {place}") from error
        try:
            self._process.wait_ready(self._answers, _START_SECONDS)
        except BaseException as error:
            self.stop()
            if isinstance(error, ProcessError) and (reason := _complaint(self._process.log_lines())):
                raise ProcessError(f"postgres did not start in {self._folder}: {reason}") from error
            raise

    def create_database(self, name: str) -> str:
        """Make a database unless it is there, and return its URL.

        Raises:
            psycopg.Error: Postgres refuses.
        """
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def destroy(self) -> None:
        """End the server and remove the folder with all its data, also what is kept elsewhere."""
        self.stop()
        location = self._folder / "location"
        if location.exists():
            remove(Path(location.read_text()))
        remove(self._folder)

    def _find_home(self) -> Path:
        """Return the folder that the server's user can enter and that holds the data."""
        location = self._folder / "location"
        if location.exists():
            home = Path(location.read_text())
            if not home.is_dir():
                raise ProcessError(
                    f"the data of {self._folder} was in {home}, which is gone; remove {self._folder} to begin anew"
                )
            return home
        if self._user is None or can_reach(self._user, self._folder):
            return self._folder
        parent = _common_place(self._user)
        home = Path(tempfile.mkdtemp(prefix="orchestrator-postgres-", dir=parent))
        home.chmod(0o711)  # stays root's; the user may pass through to the data folder in it
        whole.write(location, str(home).encode())
        return home

    def _initialize(self, binaries: Path, data: Path) -> None:
        password = self._folder / "password"
        if not password.exists():
            whole.write(password, secrets.token_urlsafe(24).encode())
        # The data folder gets its name once it is complete: a start that is killed is simply repeated.
        unfinished, passed_on = data.with_name("unfinished"), data.with_name("unfinished-password")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        try:
            whole.write(passed_on, password.read_bytes())
            if self._user is not None:
                os.chown(unfinished, *self._user)
                os.chown(passed_on, *self._user)
            arguments = [
                f"--pgdata={unfinished}",
                f"--pwfile={passed_on}",
                f"--username={_SUPERUSER}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
            code, output = _run(
                launcher([str(binaries / "initdb"), *arguments], self._user, signal.SIGTERM), data.parent
            )
        finally:
            passed_on.unlink(missing_ok=True)
        if code != 0:
            lines = output.splitlines()
            reason = _complaint(lines) or (lines[-1] if lines else f"exit code {code}")
            shutil.rmtree(unfinished, ignore_errors=True)
            raise ProcessError(f"initdb could not prepare {self._folder}: {reason}")
        unfinished.rename(data)

    def _server(self, binaries: Path, data: Path) -> Process:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Process(
            self.name,
            [str(binaries / "postgres"), "-D", str(data), *options],
            log=self._folder / "postgres.log",
            env=_ENVIRONMENT,
            cwd=data.parent,
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, not waited for
            stop_timeout=30.0,
        )

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _run(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a program to its end; return its exit code and what it complained. All that it started ends with it."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_ENVIRONMENT,
        cwd=folder,
        start_new_session=True,
    ) as process:
        try:
            _, complaint = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, complaint


def _common_place(user: User) -> Path:
    """Return a folder for temporary files that a user can enter; /var/tmp first: it outlives a reboot."""
    for place in (Path("/var/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - mkdtemp makes a folder in it
        if os.access(place, os.W_OK) and can_reach(user, place):
            return place
    raise ProcessError(
        f"Postgres does not run as root, and user {user.uid} can enter neither its folder nor one for "
        "temporary files; name a data folder below one that everybody can enter, or do not run as root"
    )


def _await_predecessor(data: Path) -> None:
    """Wait for a server that still ends, as after kill -9, and remove its lock file.

    Postgres itself takes any process of the same user that has the number in the lock file for a living server
    (in containers, numbers repeat), and gives up at once if a session of a killed server still ends.

    Raises:
        ProcessError: a server on this folder is there and stays.
    """
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    deadline = time.monotonic() + _PREDECESSOR_SECONDS
    while (pid := _server_in(data)) is not None:
        if time.monotonic() > deadline:
            raise ProcessError(
                f"another Postgres, process {pid}, runs on {data}; "
                f"use another folder, or end that server with: kill -INT {pid}"
            )
        time.sleep(0.02)
    lock.unlink(missing_ok=True)


def _server_in(data: Path) -> int | None:
    """Return the oldest process of a server on a folder, in which all its processes work; None if there is none."""
    folder = str(data.resolve())
    for process in psutil.process_iter(["name", "cwd"]):  # by process id
        if process.info["name"] == "postgres" and process.info["cwd"] == folder:
            return process.pid
    return None


def _complaint(lines: list[str]) -> str | None:
    """Return the line that says why a program of Postgres gave up."""
    # Causes before consequences; a panic may follow a full disk.
    marks = ("No space left on device", "PANIC:", "FATAL:", "initdb: error:", "could not")
    return next((line for mark in marks for line in reversed(lines) if mark in line), None)
