"""Waits in a sandbox for the command of a function, and becomes it.

Python has started by then: a command that is a Python script runs in this interpreter as `python3 SCRIPT` would run it,
any other takes the place of this process. It is started as text (`python3 -c`), since a sandbox shows nothing of ours,
and imports nothing that Python does not import at its own start: what a script finds is the same.
"""

import os
import sys


def main(descriptor: int) -> None:
    """Wait for a command, its words ended by null bytes, and run it; none comes when nobody needs us any more.

    Before it come the variables that it sees besides, as `NAME=value`, and an empty word.

    Args:
        descriptor: a socket, to say that we wait, and to read the command from, to its end.
    """
    with open(descriptor, "r+b", buffering=0) as told:
        told.write(b".")
        words = [os.fsdecode(word) for word in told.readall().split(b"\0")[:-1]]
    if not words:
        return
    _settle()
    while variable := words.pop(0):
        name, _, value = variable.partition("=")
        os.environ[name] = value
    program = _found(words[0])
    if _is_ours(program) and len(words) > 1 and words[1].endswith(".py") and os.path.isfile(words[1]):
        _run(program, words)
    else:
        _become(words)


def _settle() -> None:
    """Have no collection of garbage look through what Python itself has made: it would find none."""
    import gc

    gc.freeze()
    del sys.modules["gc"]


def _found(name: str) -> str:
    """Return the program that a name leads to."""
    for folder in os.environ["PATH"].split(os.pathsep) if "/" not in name else ():
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return name


def _is_ours(program: str) -> bool:
    # In the same folder: by it Python finds its virtual environment.
    own = sys.executable
    return os.path.dirname(program) == os.path.dirname(own) and os.path.realpath(program) == os.path.realpath(own)


def _become(words: list[str]) -> None:
    import signal

    # As Python found them: what is ignored stays ignored in the command.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(words[0], words)  # noqa: S606 - it is what a function is
    except OSError as error:
        print(f"{words[0]!r} cannot be started: {error.strerror}", file=sys.stderr)
        raise SystemExit(127) from None


def _run(program: str, words: list[str]) -> None:
    path = os.path.join(os.getcwd(), words[1])
    sys.executable = program
    sys.argv[:] = words[1:]
    sys.orig_argv[:] = words
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    script = type(sys)("__main__")
    script.__dict__.update(
        __file__=path,
        __cached__=None,
        __loader__=sys.modules["_frozen_importlib_external"].SourceFileLoader("__main__", path),
        __builtins__=sys.modules["builtins"],
        __annotations__={},
    )
    sys.modules["__main__"] = script
    try:
        with open(path, "rb") as file:
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), script.__dict__)  # noqa: S102 - as Python does
    except SystemExit:
        raise
    except BaseException as error:
        # Without our own line above the script's.
        below = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(below), below)
        # To those outside of the sandbox Python ends so too when it was interrupted.
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from None


if __name__ == "__main__":
    main(int(sys.argv[1]))
