"""How a process knows the database's time, whatever its own machine's clock says."""

import ast
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.store import clock
from orchestrator.store.clock import Clock

ROOT = Path(__file__).parents[3]
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
# Who may look at this machine's clock, and why: what is compared there was written by no other.
OWN_TIME = {
    "orchestrator/store/clock.py": "before anything was measured",
    "orchestrator/calls/gate.py": "certificates, whose ends are everybody's time",
    "orchestrator/gateway/identity.py": "certificates",
    "orchestrator/rpc/expiry.py": "certificates",
    "orchestrator/files/trust.py": "revocation lists",
    "orchestrator/gateway/counts.py": "files of this machine",
    "migrations/versions/0004_retention.py": "the first partition, far ahead",
}


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how many seconds this machine has been running: the last of the list."""
    seconds = [1000.0]
    monkeypatch.setattr(clock, "ticks", lambda: seconds[-1])
    return seconds


def test_it_is_what_the_database_said_and_goes_on_from_there(running: list[float]):
    known = Clock()
    known.measured(NOON, 999.0, 1001.0)
    assert known.now() == NOON
    running.append(1060.0)
    assert known.now() == NOON + timedelta(seconds=60)


def test_an_answer_corrects_it_no_further_than_needed(running: list[float]):
    known = Clock()
    known.measured(NOON, 1000.0, 1000.0)
    # A slow answer, within which it may be true.
    known.measured(NOON + timedelta(seconds=9), 1000.0, 1010.0)
    assert known.now() == NOON
    # It was at least a second later than known.
    known.measured(NOON + timedelta(seconds=11), 1000.0, 1010.0)
    assert known.now() == NOON + timedelta(seconds=1)


@pytest.mark.parametrize("jump", [-120, 120])
def test_a_clock_of_the_database_that_jumps_is_followed(running: list[float], jump: int):
    known = Clock()
    known.measured(NOON, 999.9, 1000.1)
    later = NOON + timedelta(seconds=jump)
    known.measured(later, 999.9, 1000.1)
    assert abs(known.now() - later) <= timedelta(seconds=0.1)


def reads_own_time(source: str) -> bool:
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}
    return any(re.fullmatch(r"(datetime\.)?datetime\.(now|utcnow|today)|time\.time(_ns)?", call) for call in calls)


def test_whoever_writes_or_compares_times_in_the_database_does_it_by_the_databases():
    rooms = ("access", "audit", "calls", "compute", "dispatch", "engine", "files", "gateway", "rpc", "store", "trace")
    files = [ROOT / "orchestrator" / "server.py", ROOT / "orchestrator" / "cli" / "token.py"]
    for folder in (*(ROOT / "orchestrator" / room for room in rooms), ROOT / "beat", ROOT / "migrations"):
        files += folder.rglob("*.py")
    found = {str(file.relative_to(ROOT)) for file in files if reads_own_time(file.read_text())}
    assert found == OWN_TIME.keys()
    assert reads_own_time("from datetime import datetime, UTC\ndatetime.now(UTC)")
