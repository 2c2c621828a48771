"""Sets up a broker's accounts, whatever broker it is."""

from orchestrator.broker import rabbitmq_accounts, redis_accounts
from orchestrator.broker.credentials import Credentials
from orchestrator.broker.limits import Limits
from orchestrator.core import pokes

_DEFAULT = Limits()


def provision(
    broker_url: str,
    credentials: Credentials,
    *,
    rabbitmqctl: str = "rabbitmqctl",
    management_url: str | None = None,
    limits: Limits = _DEFAULT,
) -> list[str]:
    """Make or change the accounts; what others have made there stays as it is.

    Args:
        broker_url: with an administrator.
        credentials: of all accounts.
        rabbitmqctl: the program, for a RabbitMQ.
        management_url: root of the management API, to be used instead of that program.
        limits: of each account, on a RabbitMQ.

    Returns:
        What whoever runs the broker should mend, a sentence each.

    Raises:
        redis.RedisError: a Redis or Valkey cannot be reached, or refuses us.
        RabbitMQError: a RabbitMQ did not take them.
    """
    if pokes.on_redis(broker_url):
        kept = redis_accounts.set_up(broker_url, credentials)
        forgets = "The broker forgets these accounts when it restarts: give it an `aclfile`, or repeat this afterwards."
        limitless = redis_accounts.advice(broker_url)
        fills = f"One client can take all memory of this broker: put `{'`, `'.join(limitless)}` into its configuration."
        return [*([] if kept else [forgets]), *([fills] if limitless else [])]
    document = rabbitmq_accounts.definitions(credentials, limits)
    if management_url is not None:
        rabbitmq_accounts.import_over_http(document, management_url, broker_url)
    else:
        rabbitmq_accounts.import_here(document, rabbitmqctl)
    return []
