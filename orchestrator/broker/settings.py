"""What those must be told who deal with a broker and nothing else, from variables named `ORCHESTRATOR_…`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.core.broker_urls import BrokerUrl
from orchestrator.core.listed import Texts


class FlowerSettings(BaseSettings):
    """What Flower needs."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_", hide_input_in_errors=True)

    broker_url: BrokerUrl = Field(description="the URL of the broker, as in redis://host:6379/0")
    organizations: Texts = Field(
        (),
        description="on Redis or Valkey, the organizations whose workers are shown, separated by commas, beside the "
        "maintenance worker; on RabbitMQ all of the URL's vhost are",
    )
    queues: Texts = Field(
        (),
        description="on Redis or Valkey, queues that are no organization's and whose workers are shown too, as those "
        "of modules: `module.domain-0.ml_model,…`",
    )


class ProvisionSettings(BaseSettings):
    """What setting up the accounts on a broker needs."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_", hide_input_in_errors=True)

    broker_url: BrokerUrl = Field(
        description="the URL of the broker with its administrator, as in redis://:password@host:6379/0 or "
        "amqp://user:password@host:5672",
    )
