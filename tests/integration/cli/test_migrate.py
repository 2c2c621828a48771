"""`orchestrator migrate` as the first process of a container."""

import os
import signal
import subprocess
import sys

import psutil
import psycopg

from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from workers.executors import bubblewrap


def test_a_database_of_another_encoding_is_refused_in_one_line(postgres: Postgres):
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE other_encoding ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    environment = {**os.environ, "ORCHESTRATOR_DATABASE_URL": postgres.url("other_encoding")}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "migrate"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "its encoding is SQL_ASCII, and UTF8 is needed" in done.stderr


def test_who_waits_for_the_database_obeys_term_as_the_first_process():
    # In a process namespace of its own it has the id 1, and the kernel keeps from it what it does not handle.
    alone = [str(bubblewrap.find()), "--unshare-pid", "--as-pid-1", "--dev-bind", "/", "/", "--proc", "/proc"]
    environment = {**os.environ, "ORCHESTRATOR_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"}
    with subprocess.Popen(
        [*alone, sys.executable, "-m", "orchestrator", "migrate", "--wait"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        try:
            assert waiting.stderr is not None
            assert "the database cannot be reached" in waiting.stderr.readline()
            (first,) = psutil.Process(waiting.pid).children()
            first.terminate()
            assert waiting.wait(timeout=60) == 128 + signal.SIGTERM
        finally:
            if waiting.poll() is None:
                for process in psutil.Process(waiting.pid).children():
                    process.kill()
