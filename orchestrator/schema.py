"""How the tables of the database and this release fit, as they were seen last: for `/ready` and for `/metrics`."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import migrations
from orchestrator.core.errors import UnavailableError


class Schema(Collector):
    """Follows the tables, which another release may migrate while this one serves."""

    def __init__(self) -> None:
        self._release = migrations.release()
        self._seen: migrations.State | None = None

    def judge(self, revision: str, serves_from: str | None) -> None:
        """Note the state of the tables.

        Args:
            revision: of the database.
            serves_from: the oldest revision of code that runs on it.

        Raises:
            UnavailableError: this release does not run on them; the message says what to do.
        """
        self._seen = migrations.State(revision, serves_from, *self._release)
        if self._seen.complaint:
            raise UnavailableError(self._seen.complaint)

    @property
    def told(self) -> Mapping[str, str]:
        """What `/ready` says of it besides."""
        return {"schema": self._seen.words} if self._seen else {}

    def collect(self) -> Iterator[Metric]:
        """Yield the revisions, and what an operator has left to do."""
        if self._seen is None:
            return
        revisions = GaugeMetricFamily(
            "orchestrator_schema",
            "1; the revision of the tables, from which revision of code on they serve, and that of this server",
            labels=["revision", "serves_from", "code"],
        )
        revisions.add_metric([self._seen.revision or "", self._seen.serves_from or "", self._seen.needed], 1)
        yield revisions
        yield GaugeMetricFamily(
            "orchestrator_schema_serves", "Whether this server's code runs on the tables", int(self._seen.serves)
        )
        yield GaugeMetricFamily(
            "orchestrator_schema_contraction_pending",
            "Whether the contracting half of this release is still to be applied",
            int(self._seen.contraction_pending),
        )
