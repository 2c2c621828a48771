"""Targets of requests: a whole URL counts as its path at the host that it names (RFC 9112, 3.2.2)."""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_WHOLE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


class Targets:
    """Reads the target of a request, and hands it on.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and (found := _WHOLE.match(scope["raw_path"])):
            path = scope["raw_path"][found.end() :] or b"/"
            others = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
            headers = [(b"host", found[1]), *others]
            scope = {**scope, "raw_path": path, "path": unquote(path.decode("ascii")), "headers": headers}
        await self._app(scope, receive, send)
