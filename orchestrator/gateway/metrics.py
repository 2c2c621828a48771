"""What `/metrics` shows: the counts of the server, and the vitals of the sweeps, the nodes and the queues."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as exemplary
from prometheus_client.registry import Collector

from orchestrator.core.errors import UnavailableError
from orchestrator.core.vitals import Totals, Vitals

_NODE = ["channel", "organization", "node"]


def exposition(counts: CollectorRegistry, vitals: Callable[[], Vitals], *, openmetrics: bool = False) -> bytes:
    """Return all metrics in Prometheus' text format, or in that of OpenMetrics, which alone shows exemplars.

    Args:
        counts: of the server.
        vitals: reads those of the sweeps, the nodes and the queues; without a database, UnavailableError, they are left
            out.
        openmetrics: whether in the latter.
    """
    registry = CollectorRegistry()
    registry.register(_Counts(counts))
    registry.register(_VitalsCollector(vitals))
    if openmetrics:
        return exemplary(registry)  # type: ignore[no-untyped-call,no-any-return]
    return generate_latest(registry)


class _Counts(Collector):
    """What has been counted, beside what is asked for."""

    def __init__(self, counts: CollectorRegistry) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        yield from self._counts.collect()


class RelayLag(Collector):
    """Tells how long pokes have waited for their broker, as this process sees it.

    Args:
        lags: tells the seconds, by queue.
    """

    def __init__(self, lags: Callable[[], Mapping[str, float]]) -> None:
        self._lags = lags

    def collect(self) -> Iterator[Metric]:
        """Yield the seconds by queue."""
        lag = GaugeMetricFamily(
            "orchestrator_relay_lag_seconds",
            "Seconds since the relay began to send what it has not sent yet, by queue",
            labels=["queue"],
        )
        for queue, seconds in self._lags().items():
            lag.add_metric([queue], seconds)
        yield lag


class _VitalsCollector(Collector):
    """Asks when it is scraped, so that every server process tells the same."""

    def __init__(self, vitals: Callable[[], Vitals]) -> None:
        self._vitals = vitals

    def collect(self) -> Iterator[Metric]:
        try:
            vitals = self._vitals()
        except UnavailableError:
            yield _reachable(0)
            return
        yield _reachable(1)
        if vitals.presence is not None:
            yield GaugeMetricFamily(
                "orchestrator_presence_age_seconds",
                "Seconds since a server noted that it serves",
                vitals.presence,
            )
        yield GaugeMetricFamily(
            "orchestrator_sequencer_lag_seconds",
            "Seconds since the first event was written that has no place yet",
            vitals.unplaced,
        )
        yield from _sweeps(vitals)
        yield from _nodes(vitals)
        yield _queues(vitals)
        yield from _totals(vitals.totals)


def _reachable(value: int) -> Metric:
    return GaugeMetricFamily("orchestrator_database_reachable", "Whether the database answers", value)


def _sweeps(vitals: Vitals) -> Iterator[Metric]:
    ages = GaugeMetricFamily("orchestrator_sweep_age_seconds", "Seconds since a sweep ran last", labels=["sweep"])
    repaired = CounterMetricFamily("orchestrator_sweep_repaired", "What a sweep has repaired", labels=["sweep"])
    for sweep in vitals.sweeps:
        ages.add_metric([sweep.name], sweep.age)
        repaired.add_metric([sweep.name], sweep.repaired)
    yield ages
    yield repaired


def _nodes(vitals: Vitals) -> Iterator[Metric]:
    silent = GaugeMetricFamily("orchestrator_node_silent_seconds", "Seconds since a node was heard", labels=_NODE)
    attempts = GaugeMetricFamily(
        "orchestrator_node_attempts", "Attempts that a node ran when it was heard", labels=_NODE
    )
    certificate = GaugeMetricFamily(
        "orchestrator_node_certificate_seconds", "Seconds until the certificate of a node ends", labels=_NODE
    )
    for node in vitals.nodes:
        labels = [node.channel, node.organization, node.name]
        silent.add_metric(labels, node.age)
        attempts.add_metric(labels, node.attempts)
        if node.certificate is not None:
            certificate.add_metric(labels, node.certificate)
    yield silent
    yield attempts
    yield certificate


def _queues(vitals: Vitals) -> Metric:
    unread = GaugeMetricFamily(
        "orchestrator_queue_unread_seconds",
        "Seconds since any node that reads a queue was heard",
        labels=["queue"],
    )
    for queue in vitals.queues:
        unread.add_metric([queue.name], queue.age)
    return unread


def _totals(totals: Totals) -> Iterator[Metric]:
    tasks = GaugeMetricFamily(
        "orchestrator_tasks", "Tasks that an organization runs, by state", labels=["organization", "state"]
    )
    plans = GaugeMetricFamily(
        "orchestrator_plans", "Plans that an organization owns, by state", labels=["organization", "state"]
    )
    for family, counted in ((tasks, totals.tasks), (plans, totals.plans)):
        for each in counted:
            family.add_metric([each.organization, each.state], each.count)
        yield family
    depth = GaugeMetricFamily("orchestrator_queue_depth", "Tasks To do in a queue", labels=["queue"])
    oldest = GaugeMetricFamily(
        "orchestrator_queue_oldest_seconds", "Seconds since the first task of a queue became To do", labels=["queue"]
    )
    for queue in totals.queues:
        depth.add_metric([queue.name], queue.depth)
        oldest.add_metric([queue.name], queue.oldest)
    yield depth
    yield oldest
    ended = CounterMetricFamily(
        "orchestrator_attempts",
        "Attempts that ended, by the state that they left their task in and the kind of fault",
        labels=["organization", "outcome", "fault"],
    )
    seconds = HistogramMetricFamily(
        "orchestrator_attempt_seconds", "Seconds that attempts took", labels=["organization"]
    )
    for attempts in totals.attempts:
        for (outcome, fault), count in attempts.ended.items():
            ended.add_metric([attempts.organization, outcome, fault], count)
        buckets = [(f"{bound:g}", count) for bound, count in attempts.within]
        buckets.append(("+Inf", sum(attempts.ended.values())))
        seconds.add_metric([attempts.organization], buckets=buckets, sum_value=attempts.seconds)
    yield ended
    yield seconds
