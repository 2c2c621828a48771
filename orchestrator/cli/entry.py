"""Where the program begins: a Ctrl-C that comes while it is being imported ends it, and shows nobody Python."""

import signal

# Python's own handler raises an error wherever it is, which nobody can catch yet. Who was told to ignore the signal, as
# in the background of a script, goes on to. The command itself catches it, see `main`.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from orchestrator.cli.main import main

__all__ = ["main"]
