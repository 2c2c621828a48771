"""What an asset store tells Prometheus, beside its health."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Expiry(Collector):
    """How long the store's own certificate is still good, as it lies in its file now.

    Args:
        certificate: the file.
    """

    def __init__(self, certificate: Path) -> None:
        self._certificate = certificate

    def collect(self) -> Iterator[Metric]:
        """Yield the seconds that are left of the certificate, or of the first to end of its chain."""
        chain = x509.load_pem_x509_certificates(self._certificate.read_bytes())
        ends = min(each.not_valid_after_utc for each in chain)
        yield GaugeMetricFamily(
            "orchestrator_store_certificate_seconds",
            "Seconds until the asset store's certificate ends",
            (ends - datetime.now(UTC)).total_seconds(),
        )


def route(certificate: Path) -> Route:
    """Return the route of `/metrics`.

    Args:
        certificate: the file of the store's.
    """
    registry = CollectorRegistry()
    registry.register(Expiry(certificate))

    # Not async: it reads a file.
    def metrics(_: Request) -> Response:
        try:
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
        except (OSError, ValueError) as error:
            return Response(f"the certificate cannot be read: {error}", 503)

    return Route("/metrics", metrics)
