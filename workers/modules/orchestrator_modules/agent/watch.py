"""Sees to it that a module which could take a stage would also hear of one.

What Celery and the broker's client keep of messages in hand, and the loop that reads the queue, are in one process with
threads that run for hours. Where that is ever out of step, a module is idle, reports that it lives, and takes nothing.
"""

import threading
import time
from collections.abc import Callable

_LOOK_SECONDS = 1.0
_MOST_LOOKS = 15


class Watch(threading.Thread):
    """Looks again and again whether whoever listens still does.

    It counts looks, not seconds: a process that was stopped for a while is not deaf.

    Args:
        heard: returns a number that grows as long as all is well, None where nobody need listen now.
        is_deaf: called when it has not grown for long; it may be called again, as long as that is so.
        pause: how long to wait between two looks, in seconds.
        looks: how many of them in a row must find the same.
    """

    def __init__(
        self,
        heard: Callable[[], int | None],
        is_deaf: Callable[[], None],
        pause: float = _LOOK_SECONDS,
        looks: int = _MOST_LOOKS,
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._heard = heard
        self._is_deaf = is_deaf
        self._pause = pause
        self._looks = looks

    def run(self) -> None:
        """Look until the process ends."""
        last, same = None, 0
        while True:
            time.sleep(self._pause)
            heard = self._heard()
            same = same + 1 if heard is not None and heard == last else 0
            last = heard
            if same >= self._looks:
                self._is_deaf()
