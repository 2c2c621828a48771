"""PgBouncer, Debian's, before a Postgres of the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.processes import Process
from orchestrator.embedded.users import unprivileged_user
from tests.kit.debian import obtained

PACKAGE = "pgbouncer"


def program() -> Path:
    """Return PgBouncer, which is installed if it is missing and can be.

    Raises:
        AbsentError: it is missing and cannot be.
    """
    found = obtained(PACKAGE, lambda: shutil.which(PACKAGE, path=f"{os.environ['PATH']}:/usr/sbin"))
    return Path(found)


@contextmanager
def pooled(url: str, mode: str) -> Iterator[str]:
    """Run a PgBouncer before a database; yield the URL of that database through it.

    Args:
        url: of the database.
        mode: for how long it hands out a session: `session`, `transaction` or `statement`.
    """
    binary = program()
    target, port = conninfo_to_dict(url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-tests-pgbouncer-"))
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        "[databases]\n"
        f"pooled = host={target['host']} port={target['port']} dbname={target['dbname']} user={target['user']} "
        f"password={target['password']}\n"
        "[pgbouncer]\n"
        f"listen_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = 6\nmax_client_conn = 200\n"
    )
    # It refuses to run as root.
    user = unprivileged_user()
    if user is not None:
        for path in (folder, settings):
            os.chown(path, *user)
    process = Process("pgbouncer", [str(binary), str(settings)], log=folder / "pgbouncer.log", cwd=folder, user=user)
    through = f"postgresql://anybody@{HOST}:{port}/pooled"

    def answers() -> bool:
        try:
            psycopg.connect(through, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        process.start()
        process.wait_ready(answers)
        yield through
    finally:
        process.stop()
        print(process.log.read_text(errors="replace"))
        shutil.rmtree(folder, ignore_errors=True)
