"""How long to wait before something is started again that has ended on its own."""

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
# What ran for so long did not end because of how it was started.
_CALM_SECONDS = 60.0


class Pauses:
    """The pauses of one thing: each is twice the last, up to half a minute, until it has run calmly again."""

    def __init__(self) -> None:
        self._last = 0.0

    def after(self, seconds: float) -> float:
        """Return how many seconds to wait now.

        Args:
            seconds: how long it ran.
        """
        calm = not self._last or seconds >= _CALM_SECONDS
        self._last = _FIRST_SECONDS if calm else min(2 * self._last, _LONGEST_SECONDS)
        return self._last
