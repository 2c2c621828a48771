"""Waits until functions are built, and says why one was not."""

import time
from collections.abc import Iterable
from functools import partial

from orchestrator import protos as pb
from orchestrator.client import failures, keys
from orchestrator.client.errors import BuildError
from orchestrator.client.messages import Several
from orchestrator.client.printing import printable
from orchestrator.client.steps import Steps
from orchestrator.client.stores import Stores

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_ENDED = {pb.FUNCTION_STATUS_FAILED: "could not be built", pb.FUNCTION_STATUS_CANCELED: "was cancelled"}


def wait_ready(stores: Stores, functions: Iterable[str | pb.Function], timeout: float) -> Steps[list[pb.Function]]:
    """Return functions once all are READY; see `Client.wait_ready`."""
    deadline = time.monotonic() + timeout
    found = Several[pb.Function]()
    for key in [keys.key_of(given, "a function", pb.Function) for given in functions]:
        pause = _FIRST_PAUSE
        while (function := (yield partial(_get, key=key))).status != pb.FUNCTION_STATUS_READY:
            if function.status in _ENDED:
                raise BuildError((yield from _why(stores, function)))
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"function {printable(function.name)!r} ({function.key}) is not ready after {timeout:g} s: "
                    f"is a worker of {function.owner} there? `orchestrator node list` says"
                )
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE)
        found.append(function)
    return found


def _get(client: object, key: str) -> object:
    return client.functions.GetFunction(pb.GetFunctionParam(key=key))  # type: ignore[attr-defined]


def _why(stores: Stores, function: pb.Function) -> Steps[str]:
    said = f"function {printable(function.name)!r} ({function.key}) {_ENDED[function.status]}"
    failure = yield from failures.of(stores, function.key)
    return f"{said}: {failure.told}" if failure else said
