import os
import signal
import socket
import stat
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.embedded.ports import HOST
from orchestrator.embedded.processes import ProcessError
from orchestrator.embedded.valkey import Valkey
from tests.kit.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path):
    server = Valkey(tmp_path / "valkey")
    yield server
    server.stop()


def client(server: Valkey) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_it_starts_stops_and_starts_again_at_the_same_address(server: Valkey):
    for _ in range(2):
        server.start()
        with client(server) as connection:
            assert connection.get("key") is None
            connection.set("key", "value")
        server.stop()

        assert not psutil.pid_exists(server.process.pid)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, server.port))


def test_only_the_password_opens_it_and_nobody_else_can_read_it(server: Valkey, tmp_path: Path):
    server.start()
    password = server.url.split("@")[0].removeprefix("redis://:")

    once = Retry(NoBackoff(), 0)
    with redis.Redis(HOST, server.port, retry=once) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and password in path.read_text()]
    assert stat.S_IMODE((tmp_path / "valkey" / "users.acl").stat().st_mode) == 0o600
    assert password not in " ".join(psutil.Process(server.process.pid).cmdline())


def test_users_outlive_a_restart_once_they_are_saved(server: Valkey):
    server.start()
    with client(server) as connection:
        connection.execute_command("ACL SETUSER", "guest", "on", ">secret", "+ping")
        connection.acl_save()
    for _ in range(2):
        server.stop()
        server.start()
    with redis.Redis(HOST, server.port, username="guest", password="secret") as guest:
        assert guest.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            guest.get("key")


def test_a_killed_one_is_noticed_and_starts_again(server: Valkey):
    server.start()
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not server.process.alive)

    with pytest.raises(ProcessError, match="valkey was killed by SIGKILL"):
        server.check()
    server.start()
    server.check()


def test_messages_outlive_a_kill_only_if_asked(tmp_path: Path):
    server = Valkey(tmp_path, persistent=True)
    try:
        server.start()
        with client(server) as connection:
            connection.set("key", "value")
            wait_until(lambda: "value" in "".join(map(Path.read_text, tmp_path.rglob("*.aof"))))
        os.kill(server.process.pid, signal.SIGKILL)
        wait_until(lambda: not server.process.alive)
        server.start()
        with client(server) as connection:
            assert connection.get("key") == "value"
    finally:
        server.stop()


def test_it_cannot_be_started_twice(server: Valkey):
    server.start()
    with pytest.raises(RuntimeError, match="runs already"):
        server.start()
    server.check()


def test_it_ends_when_its_supervisor_is_killed(tmp_path: Path, kill_supervisor, gone):
    gone(kill_supervisor(tmp_path, "valkey"))


def test_a_folder_with_blanks_will_do(tmp_path: Path):
    server = Valkey(tmp_path / "a folder of mine")
    server.start()
    server.stop()


def test_a_wrong_binary_is_told(server: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORCHESTRATOR_VALKEY_BIN", str(tmp_path / "nothing"))

    with pytest.raises(ProcessError, match=r"ORCHESTRATOR_VALKEY_BIN names .*nothing.* unset it"):
        server.start()


def test_an_unusable_folder_is_told_in_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    server = Valkey(tmp_path / "file" / "valkey")

    with pytest.raises(ProcessError, match=r"^valkey cannot use the folder .*: Not a directory$"):
        server.start()
