"""The supervisor starts the agent, also while the pool forks."""

import os
import signal
import subprocess
import sys

from tests.kit.waiting import wait_until
from tests.kit.world import World

# As if the pool forked a process whenever a pipe was made: it inherits both ends, and goes on.
FORKS = """
import os, signal, sys
from workers.node.supervisor import Supervisor
from workers.settings import WorkerSettings

pipe = os.pipe
def pipe_and_fork():
    made = pipe()
    if os.fork() == 0:
        signal.pause()
    return made
os.pipe = pipe_and_fork
with Supervisor(WorkerSettings.model_validate_json(sys.stdin.readline())):
    signal.pause()
"""


def test_an_agent_that_is_started_while_the_pool_forks_beats(world: World) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(world.settings.without_secrets() + "\n")
            process.stdin.flush()
            wait_until(lambda: len(world.recorded.heartbeats) >= 2, timeout=30, message="heartbeats")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
