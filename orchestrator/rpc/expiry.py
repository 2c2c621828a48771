"""How long the server's certificate, the authorities of its callers and their revocation lists are still good."""

from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.rpc.certificates import CertificateFiles


class Expiry(Collector):
    """Tells Prometheus, as of the last look at the files.

    Args:
        certificates: what lies on disk.
    """

    def __init__(self, certificates: CertificateFiles) -> None:
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """Yield the seconds that are left; of several authorities or lists of an organization, of the first to end."""
        now = datetime.now(UTC)
        server = x509.load_pem_x509_certificates(self._certificates.server_certificate)
        yield GaugeMetricFamily(
            "orchestrator_server_certificate_seconds",
            "Seconds until the server's certificate ends",
            _left([each.not_valid_after_utc for each in server], now),
        )
        authorities = GaugeMetricFamily(
            "orchestrator_authority_certificate_seconds",
            "Seconds until the first authority of an organization ends",
            labels=["organization"],
        )
        lists = GaugeMetricFamily(
            "orchestrator_revocation_list_seconds",
            "Seconds until the first revocation list of an organization should have been replaced",
            labels=["organization"],
        )
        trust = self._certificates.trust
        for organization, known in trust.value.organizations.items() if trust else ():
            if known.certificates:
                ends = [each.not_valid_after_utc for each in known.certificates]
                authorities.add_metric([organization], _left(ends, now))
            if known.next_update is not None:
                lists.add_metric([organization], _left([known.next_update], now))
        yield authorities
        yield lists


def _left(moments: list[datetime], now: datetime) -> float:
    return (min(moments) - now).total_seconds()
