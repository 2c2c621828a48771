"""A RabbitMQ of the tests' own: the one that is installed, or Debian's package, started by hand on loopback ports."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import tempfile
from pathlib import Path

from kombu import Connection

from orchestrator.embedded.certificates import lay_out
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.processes import Process
from orchestrator.embedded.users import User, unprivileged_user
from tests.kit.debian import obtained

PACKAGE = "rabbitmq-server"
DEBIAN = Path("/usr/lib/rabbitmq/bin")
START_SECONDS = 60.0
LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"


def programs() -> Path:
    """Return the folder of RabbitMQ's programs, which are installed if they are missing and can be.

    Raises:
        AbsentError: they are missing and cannot be.
    """
    return obtained(PACKAGE, installed)


def installed() -> Path | None:
    # Debian's programs on the PATH change the user, and the folder of the Erlang cookie with it.
    if (DEBIAN / "rabbitmq-server").exists():
        return DEBIAN
    program = shutil.which("rabbitmq-server")
    return Path(program).resolve().parent if program else None


class RabbitMQ:
    """A node of its own, with an epmd of its own, and the management plugin.

    Args:
        folder: of its programs.
    """

    def __init__(self, folder: Path) -> None:
        self.programs = folder
        self.root = Path(tempfile.mkdtemp(prefix="orchestrator-tests-rabbitmq-"))
        self._port, self._secure_port, self._management_port, epmd_port, node_port = (free_port() for _ in range(5))
        self._password = secrets.token_urlsafe()
        self._user = rabbitmq_user()
        settings = self.root / "rabbitmq.conf"
        self.certificates = lay_out(self.root / "certificates", ["org-1"])
        server = self.certificates.server
        settings.write_text(
            f"listeners.tcp.local = {HOST}:{self._port}\n"
            f"listeners.ssl.local = {HOST}:{self._secure_port}\n"
            f"ssl_options.cacertfile = {server.authority}\n"
            f"ssl_options.certfile = {server.certificate}\n"
            f"ssl_options.keyfile = {server.key}\n"
            "ssl_options.verify = verify_none\n"
            f"management.tcp.ip = {HOST}\n"
            f"management.tcp.port = {self._management_port}\n"
            f"default_user = admin\ndefault_pass = {self._password}\n"
        )
        (self.root / "plugins").write_text("[rabbitmq_management].\n")
        (self.root / ".erlang.cookie").write_text(secrets.token_hex())
        for path in (self.root, *self.root.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o400)
            if self._user is not None:
                os.chown(path, *self._user)
        self.environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": f"tests-{os.getpid()}-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(settings),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.root / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.root / "data"),
            "RABBITMQ_LOG_BASE": str(self.root / "log"),
            "RABBITMQ_DIST_PORT": str(node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LOOPBACK,
            "RABBITMQ_CTL_ERL_ARGS": LOOPBACK,
        }
        self._epmd = self._process("epmd", ["epmd", "-address", HOST, "-port", str(epmd_port)])
        self._server = self._process("rabbitmq", [str(folder / "rabbitmq-server")])

    def _process(self, name: str, argv: list[str]) -> Process:
        return Process(
            name,
            argv,
            log=self.root / f"{name}.log",
            env=self.environment,
            cwd=self.root,
            user=self._user,
            # Nothing in it is kept.
            stop_signal=signal.SIGKILL,
        )

    @property
    def url(self) -> str:
        """The URL of its administrator."""
        return f"amqp://admin:{self._password}@{HOST}:{self._port}"

    @property
    def secure_url(self) -> str:
        """The same over TLS, with a certificate of an authority of its own."""
        return f"amqps://admin:{self._password}@{HOST}:{self._secure_port}"

    @property
    def management_url(self) -> str:
        """The root of its management API."""
        return f"http://{HOST}:{self._management_port}"

    @property
    def auth(self) -> tuple[str, str]:
        """Who asks the management API."""
        return "admin", self._password

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._epmd.start()
        self._server.start()
        self._server.wait_ready(self._answers, START_SECONDS)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), Connection(f"{self.url}//", connect_timeout=1) as connection:
            connection.connect()
            return True
        return False

    def destroy(self) -> None:
        """End it and remove all it wrote."""
        self._server.stop()
        self._epmd.stop()
        shutil.rmtree(self.root)


def rabbitmq_user() -> User | None:
    """Return the user to change to, the package's if there is one; None keeps ours, if that is not root."""
    nobody = unprivileged_user()
    if nobody is None:
        return None
    try:
        entry = pwd.getpwnam("rabbitmq")
    except KeyError:
        return nobody
    return User(entry.pw_uid, entry.pw_gid)
