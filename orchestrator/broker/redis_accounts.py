"""Accounts on Redis and Valkey: a user each, who may touch its own queue and its own channels only.

Who may only read can fill nothing: an organization takes from its one list, hears and says what keeps nothing, and that
is all; the relay alone writes to the lists. Nobody runs scripts, or names keys of its own choice. Flower alone has
transactions, in which it asks how long the lists are. Every command is one that Redis 6.2 has. A password reaches the
server as its hash. The users live in the server's memory; they outlive a restart where it has an ACL file.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.broker.credentials import Credentials
from orchestrator.core import pokes

_SECONDS = 5

_GREETING = ("ping", "select")
_TAKING = ("brpop", "rpop", "llen")
_LOOKING = ("llen", "multi", "exec")
_GIVING = ("lpush", "llen", "del")
# Only the very patterns that an account was given can be subscribed to: there are three, so they fill nothing.
_HEARING = ("publish", "psubscribe", "punsubscribe")
# Replies come to a channel that whoever asks makes up.
_ASKING = (*_HEARING, "subscribe", "unsubscribe")
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~")

_UNLIMITED = "0"
_LARGE = 64 << 20

# Setting -> what is bad, and what is better; a server that does not know one does not name it.
_ADVICE: dict[str, tuple[Callable[[str], bool], str]] = {
    "maxmemory": (_UNLIMITED.__eq__, "256mb"),
    "maxmemory-policy": ("noeviction".__ne__, "noeviction"),
    "maxmemory-clients": (_UNLIMITED.__eq__, "25%"),
    "client-query-buffer-limit": (lambda value: int(value) > _LARGE, "8mb"),
    "proto-max-bulk-len": (lambda value: int(value) > _LARGE, "1mb"),
    "client-output-buffer-limit": (
        lambda value: value.startswith("normal 0 0 "),
        "normal 8mb 4mb 30 pubsub 8mb 4mb 30",
    ),
}


def users(names: Iterable[str], database: int) -> dict[str, list[str]]:
    """Return the rights of all users, as words of ACL SETUSER.

    Args:
        names: of the queues.
        database: the number in the URL, which the names of channels hold.
    """
    queues = {pokes.account_of(name): name for name in names}
    sweeps = {pokes.MAINTENANCE: pokes.MAINTENANCE}
    return {
        **{account: _rights({account: queue}, database, _TAKING, _HEARING) for account, queue in queues.items()},
        pokes.MAINTENANCE: _rights(sweeps, database, _TAKING, _GIVING, _HEARING),
        pokes.RELAY: _rights(queues, database, _GIVING, ("publish",)),
        pokes.FLOWER: _rights({**queues, **sweeps}, database, _LOOKING, _ASKING),
    }


def _rights(queues: Mapping[str, str], database: int, *commands: Iterable[str]) -> list[str]:
    # Redis 6.2 lets everybody hear all channels, and takes no pattern as long as that is so.
    words = ["resetchannels"]
    for account, queue in queues.items():
        prefix = pokes.key_prefix(account)
        words.append(f"~{prefix}{_pattern(queue)}")
        # Spelled as Celery subscribes to them: a subscription to a pattern is allowed if that very pattern is.
        words += [f"&{prefix}/{database}.{name}" for name in ("celery.pidbox", "celeryev/*", "reply.celery.pidbox/*")]
    allowed = dict.fromkeys(command for group in (_GREETING, *commands) for command in group)
    return [*words, "-@all", *(f"+{command}" for command in allowed)]


def _pattern(queue: str) -> str:
    """Return a pattern for the name of a queue, in which signs that mean something or may not stand there are `?`."""
    return "".join(chr(sign) if sign in _PLAIN else "?" for sign in queue.encode())


def set_up(broker_url: str, credentials: Credentials) -> bool:
    """Make or change the users, all of them or none.

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
    with _client(broker_url) as client:
        with client.pipeline(transaction=True) as pipeline:
            names = [*map(pokes.queue, credentials.organizations), *credentials.queues]
            for account, words in users(names, database).items():
                hashed = sha256(passwords[account].encode()).hexdigest()
                pipeline.execute_command("ACL SETUSER", account, "reset", "on", f"#{hashed}", *words)
            pipeline.execute()
        try:
            client.acl_save()
        except redis.ResponseError:
            return False
    return True


def advice(broker_url: str) -> list[str]:
    """Return what a server should be told in its configuration, so that no client can take all its memory.

    Args:
        broker_url: with a user who may look; a server that shows its configuration to nobody gets no advice.

    Raises:
        redis.RedisError: the server cannot be reached.
    """
    with _client(broker_url) as client:
        try:
            found = {name: value for pattern in _ADVICE for name, value in client.config_get(pattern).items()}
        except redis.ResponseError:
            return []
    return [f"{name} {better}" for name, (bad, better) in _ADVICE.items() if name in found and bad(str(found[name]))]


def _client(broker_url: str) -> "redis.Redis":
    return redis.Redis.from_url(
        re.sub("^valkey", "redis", broker_url),
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
