"""The signals that a program of the tests must not ignore."""

import signal


def heed() -> None:
    """Heed what a shell has the programs ignore that it starts with `&`: what is ignored stays so in their children.

    A Postgres that ignores SIGINT never ends when it is told to.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
