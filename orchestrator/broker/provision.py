"""Sets up a broker's accounts, whatever broker it is."""

from orchestrator.broker import rabbitmq_accounts, redis_accounts
from orchestrator.broker.credentials import Credentials
from orchestrator.core import pokes


def provision(
    broker_url: str, credentials: Credentials, *, rabbitmqctl: str = "rabbitmqctl", management_url: str | None = None
) -> bool:
    """Make or change the accounts; what others have made there stays as it is.

    Args:
        broker_url: with an administrator.
        credentials: of all accounts.
        rabbitmqctl: the program, for a RabbitMQ.
        management_url: root of the management API, to be used instead of that program.

    Returns:
        Whether the broker keeps them over a restart.

    Raises:
        redis.RedisError: a Redis or Valkey cannot be reached, or refuses us.
        RabbitMQError: a RabbitMQ did not take them.
    """
    if pokes.on_redis(broker_url):
        return redis_accounts.set_up(broker_url, credentials)
    if management_url is not None:
        rabbitmq_accounts.import_over_http(credentials, management_url, broker_url)
    else:
        rabbitmq_accounts.import_here(credentials, rabbitmqctl)
    return True
