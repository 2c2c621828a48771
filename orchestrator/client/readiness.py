"""Waits until functions are built, and says why one was not."""

import time
from collections.abc import Iterable
from functools import partial

import grpc

from orchestrator import protos as pb
from orchestrator.client import failures, keys
from orchestrator.client.errors import BuildError, CallError
from orchestrator.client.messages import Several
from orchestrator.client.printing import printable
from orchestrator.client.steps import Steps
from orchestrator.client.stores import Stores

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_UNBUILT = {pb.FUNCTION_STATUS_WAITING, pb.FUNCTION_STATUS_BUILDING}
_ENDED = {pb.FUNCTION_STATUS_FAILED: "could not be built", pb.FUNCTION_STATUS_CANCELED: "was cancelled"}


def wait_ready(stores: Stores, functions: Iterable[str | pb.Function], timeout: float) -> Steps[list[pb.Function]]:
    """Return functions once all are READY; see `Client.wait_ready`."""
    deadline = time.monotonic() + timeout
    found = Several[pb.Function]()
    wanted = []
    for given in functions:
        wanted.append((yield from keys.find(given, pb.ASSET_FUNCTION, pb.Function)))
    for key in wanted:
        pause = _FIRST_PAUSE
        while (function := (yield partial(_get, key=key))).status != pb.FUNCTION_STATUS_READY:
            if function.status in _ENDED:
                raise BuildError((yield from _why(stores, function)))
            if time.monotonic() > deadline:
                reason = (yield from delayed(function)) or (
                    f"is a worker of {function.owner} there? `orchestrator node list` says"
                )
                raise TimeoutError(
                    f"function {printable(function.name)!r} ({function.key}) is not ready after {timeout:g} s: {reason}"
                )
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE)
        found.append(function)
    return found


def delay_of(given: str | pb.Function) -> Steps[str]:
    """Return what has delayed the build of a function; see `Client.build_delay`."""
    key = yield from keys.find(given, pb.ASSET_FUNCTION, pb.Function)
    return (yield from delayed((yield partial(_get, key=key))))


def delayed(function: pb.Function) -> Steps[str]:
    """Return what has delayed the build of a function that is not built yet, for people; empty where nothing did.

    Raises:
        CallError: the orchestrator does not answer.
    """
    try:
        build = yield lambda client: client.inspection.GetBuild(pb.GetBuildParam(function_key=function.key))
    except CallError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        # It is of before, and knows of no delays.
        return ""
    if not build.HasField("delay") or build.status not in _UNBUILT:
        return ""
    times = "once" if build.delay.number == 1 else f"{build.delay.number} times"
    return (
        f"{function.owner} has tried {times} in vain to build it, and tries again, after pauses that double up to an "
        f"hour: {printable(build.delay.reason)}"
    )


def _get(client: object, key: str) -> object:
    return client.functions.GetFunction(pb.GetFunctionParam(key=key))  # type: ignore[attr-defined]


def _why(stores: Stores, function: pb.Function) -> Steps[str]:
    said = f"function {printable(function.name)!r} ({function.key}) {_ENDED[function.status]}"
    failure = yield from failures.of(stores, function.key)
    return f"{said}: {failure.told}" if failure else said
