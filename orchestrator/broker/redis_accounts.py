"""Accounts on Redis and Valkey: a user each, who may touch the keys and channels of its own prefix only.

A password reaches the server as its hash. The users live in the server's memory; they outlive a restart where it has
an ACL file.
"""

from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.broker.credentials import Credentials
from orchestrator.core import pokes

_SECONDS = 5

# What Celery's transport uses of queues, unacknowledged messages and bindings. Nothing that lists keys, changes the
# server, or tells of other clients.
_COMMANDS = (
    *("ping", "select", "multi", "exec", "discard", "watch", "unwatch", "client|setinfo", "client|setname"),
    *("lpush", "rpush", "rpop", "brpop", "llen", "exists", "del", "pexpire", "set", "get"),
    *("sadd", "srem", "smembers", "hset", "hget", "hdel", "hlen", "zadd", "zrem", "zrange", "zrangebyscore"),
    *(
        "script|load",
        "script|exists",
        "evalsha",
        "time",
        "publish",
        "psubscribe",
        "punsubscribe",
        "subscribe",
        "unsubscribe",
    ),
)


def rules(account: str, database: int) -> list[str]:
    """Return the rights of an account on its own keys and channels, as words of ACL SETUSER.

    Args:
        account: that of an organization, or of the maintenance worker.
        database: the number in the URL, which the names of channels hold.
    """
    prefix = pokes.key_prefix(account)
    return [f"~{prefix}*", *_channels(account, database), *_commands()]


def flower_rules(accounts: Sequence[str], database: int) -> list[str]:
    """Return the rights of Flower: the events and the remote control of all accounts, the lengths of their queues."""
    own = ["_kombu.binding.celeryev", "_kombu.binding.celery.pidbox", "_kombu.binding.reply.celery.pidbox"]
    bookkeeping = ["_kombu.binding_deadlines", "_kombu.binding_permanent.*", "*.reply.celery.pidbox*", "celeryev.*"]
    words = []
    for account in accounts:
        prefix = pokes.key_prefix(account)
        words += [f"~{prefix}{key}" for key in (*own, *bookkeeping)]
        words += [f"%R~{prefix}{account}*", *_channels(account, database)]
    return [*words, *_commands()]


def _channels(account: str, database: int) -> list[str]:
    # Spelled as Celery subscribes to them: a subscription to a pattern is allowed if that very pattern is.
    prefix = pokes.key_prefix(account)
    return [f"&{prefix}/{database}.celery.pidbox", f"&{prefix}/{database}.celeryev/*"]


def _commands() -> list[str]:
    return ["-@all", *(f"+{command}" for command in _COMMANDS)]


def set_up(broker_url: str, credentials: Credentials) -> bool:
    """Make or change the users.

    Args:
        broker_url: with a user who may.
        credentials: of all accounts.

    Returns:
        Whether the server keeps them over a restart.

    Raises:
        redis.RedisError: the server cannot be reached, or refuses us.
    """
    database = int(urlsplit(broker_url).path.strip("/") or 0)
    passwords = credentials.passwords
    accounts = [account for account in passwords if account != pokes.FLOWER]
    users = {account: rules(account, database) for account in accounts}
    users[pokes.FLOWER] = flower_rules(accounts, database)
    with redis.Redis.from_url(
        broker_url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, retry=Retry(NoBackoff(), 0)
    ) as client:
        with client.pipeline(transaction=True) as pipeline:
            for account, words in users.items():
                hashed = sha256(passwords[account].encode()).hexdigest()
                pipeline.execute_command("ACL SETUSER", account, "reset", "on", f"#{hashed}", *words)
            pipeline.execute()
        try:
            client.acl_save()
        except redis.ResponseError:
            return False
    return True
