"""The messages to an organization's queue: names that its workers and the relay agree on.

A poke carries a key and, for a task, the number of the attempt that is due; everything else is asked of the
orchestrator. It may come twice, late or never.
"""

from urllib.parse import quote

RUN_TASK = "task.run"
"""Celery task with the keywords `task` and `attempt`: claim that attempt and run it."""

BUILD_FUNCTION = "function.build"
"""Celery task with the keyword `function`: build it."""

DISABLE_OUTPUTS = "outputs.disable"
"""Celery task with the keyword `task`: delete its transient models, which no task can need any more."""

KEYWORDS = {RUN_TASK: ("task", "attempt"), BUILD_FUNCTION: ("function",), DISABLE_OUTPUTS: ("task",)}
"""The messages that go to one worker, and their keywords: a key, and the number of an attempt."""

STOP_ATTEMPTS = "stop_attempts"
"""Remote control command with the argument `tasks`, a list of keys: some attempts at them must stop.

It makes the worker's agent beat at once, and it is the answer to that heartbeat which says what must stop: a command
that is lost or forged does no harm. Workers are named `<organization>@<node>`.
"""


_OF_ORGANIZATIONS = "org."


def queue(organization: str) -> str:
    """Return the name of an organization's queue."""
    return f"{_OF_ORGANIZATIONS}{organization}"


def organization_of(queue: str) -> str | None:
    """Return the organization whose queue it is, None where it is no organization's."""
    return queue.removeprefix(_OF_ORGANIZATIONS) if queue.startswith(_OF_ORGANIZATIONS) else None


def readers(queue: str) -> str:
    """Return the pattern of the names of the Celery workers that read a queue; they begin with its organization."""
    return f"{organization_of(queue) or queue}@*"


MAINTENANCE = "maintenance"
"""The account of the maintenance worker and its beat."""

RELAY = "relay"
"""The account of the relay, which alone writes the queues of organizations, where an account is no vhost."""

FLOWER = "flower"
"""The account of Flower, which looks at all others and holds no queue."""


def account(organization: str) -> str:
    """Return an organization's account on a broker: the name of its user, on RabbitMQ of its vhost too.

    Whatever the organization is called, it holds no sign that means something in a pattern, and no other
    organization's begins with it and a colon.
    """
    return f"org.{quote(organization, safe='')}"


def account_of(queue: str) -> str:
    """Return the account that holds a queue: that of its organization, or the queue's own name."""
    organization = organization_of(queue)
    return account(organization) if organization else queue


def key_prefix(account: str) -> str:
    """Return what all keys and channels of an account on Redis or Valkey begin with.

    The braces keep an account's keys on one node of a cluster.
    """
    return f"{{{account}}}:"


def on_redis(url: str) -> bool:
    """Tell whether a broker is a Redis or a Valkey, rather than a RabbitMQ."""
    return url.startswith(("redis", "valkey", "sentinel"))
