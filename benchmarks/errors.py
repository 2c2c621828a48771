"""What ends a bench."""


class BenchError(Exception):
    """A row could not be measured; the message says why, and what to look at."""
