"""What an agent is told by variables named `ORCHESTRATOR_…`; without them it looks on this machine."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, FilePath
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.broker import credentials
from orchestrator.client import Certificates
from orchestrator.client.certificates import RenewedCertificates
from orchestrator.core.broker_urls import BrokerUrl
from orchestrator.embedded import running


class NowhereError(Exception):
    """It is not known where the orchestrator or the broker is; the message is for people."""


def _upper(value: object) -> object:
    return {"WARN": "WARNING"}.get(str(value).upper(), str(value).upper())


class Settings(BaseSettings):
    """Where the orchestrator is, and as whom a module calls it."""

    model_config = SettingsConfigDict(
        env_prefix="ORCHESTRATOR_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    address: str | None = Field(None, description="host:port of the orchestrator's gRPC server")
    organization: str | None = Field(None, description="the organization of the deployment")
    channel: str | None = Field(None, description="the channel in which it lies")
    client_ca_cert: FilePath | None = Field(None, description="the CA certificates of the orchestrator's server")
    client_cert: FilePath | None = Field(None, description="the organization's client certificate")
    client_key: FilePath | None = Field(None, description="its key")
    broker_url: BrokerUrl | None = Field(None, description="the URL of the broker with the queue of the kind")
    proxy_from_environment: bool = Field(False, description="whether to reach the orchestrator by a proxy")
    data: Path | None = Field(None, description="the folder of `orchestrator up`, where it is not looked for")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        "WARNING", description="DEBUG, INFO, WARNING or ERROR: what the agent says"
    )


class Place:
    """Where a module's orchestrator and broker are.

    Args:
        settings: what is said; where no address is, the federation that `orchestrator up` runs on this machine.
        queue: that the module reads.

    Raises:
        NowhereError: nothing is said, and none runs, or it serves no problems.
    """

    def __init__(self, settings: Settings, queue: str) -> None:
        if settings.address is None:
            self._here(settings, queue)
            return
        if settings.organization is None or settings.channel is None or settings.broker_url is None:
            raise NowhereError(
                "with ORCHESTRATOR_ADDRESS belong ORCHESTRATOR_ORGANIZATION, ORCHESTRATOR_CHANNEL and "
                "ORCHESTRATOR_BROKER_URL"
            )
        self.address, self.organization, self.channel = settings.address, settings.organization, settings.channel
        self.broker_url = settings.broker_url.get_secret_value()
        files = settings.client_ca_cert, settings.client_cert, settings.client_key
        self.certificates: Certificates | None = None
        if any(files):
            ca, certificate, key = files
            if ca is None or certificate is None or key is None:
                raise NowhereError(
                    "ORCHESTRATOR_CLIENT_CA_CERT, ORCHESTRATOR_CLIENT_CERT and ORCHESTRATOR_CLIENT_KEY belong together"
                )
            self.certificates = RenewedCertificates(ca, certificate, key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def _here(self, settings: Settings, queue: str) -> None:
        try:
            found = running.here(settings.data)
            if not found.problems:
                raise NowhereError(
                    f"the federation at {found.address} serves no problems: `orchestrator up --problems`"
                )
            known = credentials.read(found.broker_urls)
            urls = known.queues if known else {}
            if queue not in urls:
                raise NowhereError(f"the federation at {found.address} has no queue {queue}")
            self.address, self.channel = found.address, found.channel
            self.organization = found.problems["organization"]
            self.certificates = found.certificates(self.organization)
            self.broker_url = urls[queue]
        except (OSError, ValueError, running.NowhereError) as error:
            raise NowhereError(str(error)) from error
