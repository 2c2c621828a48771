"""Tells by `grpc.health.v1` whether the server can do its work."""

from collections.abc import Awaitable, Callable

import structlog
from grpc_health.v1 import health, health_pb2

from orchestrator.core.errors import UnavailableError

log = structlog.get_logger()

_Status = health_pb2.HealthCheckResponse


class Readiness:
    """Follows what calls need.

    Args:
        check: raises UnavailableError while calls would fail.
        healthy: where it is told.
    """

    def __init__(self, check: Callable[[], Awaitable[None]], healthy: health.aio.HealthServicer) -> None:
        self._check = check
        self._healthy = healthy
        self._serves = True

    async def step(self) -> bool:
        """Check once, and tell; return False, since nothing is left to do."""
        reason = ""
        try:
            await self._check()
        except UnavailableError as error:
            reason = str(error)
        if self._serves is bool(reason):
            self._serves = not reason
            await self._healthy.set("", _Status.SERVING if self._serves else _Status.NOT_SERVING)
            if reason:
                log.error("server.not_ready", reason=reason)
            else:
                log.info("server.ready")
        return False
