"""What Prometheus is told by a server of several processes: everything once, and nothing less after a death."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator import protos as pb
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.postgres import Postgres
from tests.kit.organization import Organization
from tests.kit.servers import serving, settings_for_tls
from tests.kit.siblings import Siblings
from tests.kit.transports import Wire
from tests.kit.waiting import wait_until

CALLS = 3


@dataclass
class Told:
    """What one scrape says: name -> labels -> value."""

    families: dict[str, dict[frozenset[tuple[str, str]], float]]

    def calls(self) -> float:
        """Return how many calls were answered, as the counter says and as the histogram does."""
        counted = self._sum("orchestrator_calls_total")
        assert counted == self._sum("orchestrator_call_seconds_count")
        return counted

    def _sum(self, name: str) -> float:
        values = self.families.get(name, {})
        return sum(value for labels, value in values.items() if ("method", "QueryVersion") in labels)

    def by_process(self, name: str) -> dict[str, float]:
        return {dict(labels)["process"]: value for labels, value in self.families[name].items()}


def scraped(siblings: Siblings) -> Told:
    http = siblings.supervisor.environ()["ORCHESTRATOR_HTTP_ADDRESS"]
    text = httpx.get(f"http://{http}/metrics", timeout=60).raise_for_status().text
    told = Told({})
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values, labels = told.families.setdefault(sample.name, {}), frozenset(sample.labels.items())
            assert labels not in values, f"{sample.name} {sample.labels} is told twice"
            values[labels] = sample.value
    return told


@pytest.fixture(scope="module")
def siblings(certificates: Layout, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siblings]:
    database = postgres.create_database(f"counts_{uuid.uuid4().hex}")
    credentials = certificates.client("org-1").credentials()
    settings = {
        **settings_for_tls(certificates),
        "ORCHESTRATOR_PROCESSES": "2",
        "ORCHESTRATOR_METRICS_ENABLED": "true",
    }
    with serving(tmp_path_factory.mktemp("server"), database, {"c": ["org-1"]}, settings, credentials) as address:
        yield Siblings(address, credentials)


def ask(siblings: Siblings, process: psutil.Process) -> None:
    with siblings.channel_to(process) as transport:
        for _ in range(CALLS):
            Organization(Wire(transport), "org-1", "c").send(pb.QueryVersionParam())


def files(process: psutil.Process) -> list[str]:
    """Return the files that the processes count in."""
    folder = process.environ()["TMPDIR"]
    return sorted(str(file) for file in Path(folder).glob("orchestrator-counts-*/*"))


def test_calls_are_counted_once_whoever_answered_them_and_whoever_is_asked(siblings: Siblings):
    before = scraped(siblings).calls()
    for number, process in enumerate(siblings.all_of(2), start=1):
        ask(siblings, process)
        # Both are asked, most likely: the kernel chooses.
        assert {scraped(siblings).calls() for _ in range(12)} == {before + number * CALLS}


def test_what_is_the_same_for_all_is_told_once_and_what_is_not_by_process(siblings: Siblings):
    siblings.all_of(2)
    told = scraped(siblings).families
    for name in ("orchestrator_server_certificate_seconds", "orchestrator_database_reachable"):
        assert len(told[name]) == 1
    resident = scraped(siblings).by_process("process_resident_memory_bytes")
    assert resident.keys() == {"0", "1"}
    assert min(resident.values()) > 2**20


def test_a_death_takes_no_counts_and_leaves_no_files(siblings: Siblings):
    for _ in range(2):
        victim, other = siblings.all_of(2)
        ask(siblings, victim)
        before, there = scraped(siblings), files(siblings.supervisor)
        victim.kill()
        wait_until(lambda victim=victim: victim not in siblings.listening(), message="its end")
        ask(siblings, other)
        assert scraped(siblings).calls() == before.calls() + CALLS
        (new,) = set(siblings.all_of(2)) - {other}
        ask(siblings, new)
        after = scraped(siblings)
        assert after.calls() == before.calls() + 2 * CALLS
        starts = "orchestrator_process_starts_total"
        assert sum(after.by_process(starts).values()) == sum(before.by_process(starts).values()) + 1
        assert files(siblings.supervisor) == there
        assert there
