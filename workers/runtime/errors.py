"""What stands in the way of a call to Argo or Kafka."""


class RefusedError(Exception):
    """It was refused for good: the same call again would be, too; the message is one line for people."""


class UnreachableError(Exception):
    """Nobody knows whether it was done: to be tried again; the message is one line for people."""


class ExistsError(RefusedError):
    """There is one of this name already."""
