"""A stand-in for MaaS: keeps models, metrics and files in memory, and knows one AI engine. For the demo alone.

Started as `python maas.py 127.0.0.1:8000`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KINDS = ("ai_models", "evaluation_metrics", "generic_files")
ENGINE, VERSION = 7, 4
"""Ids of the AI engine that it knows, and of its version."""

NAME, CONTAINER_VERSION = "digits-engine", "1.0"
"""Of its container."""

_LIMITS = {
    "container_version": CONTAINER_VERSION,
    "max_iteration_time": 600,
    "memory_request": "256Mi",
    "memory_limit": "1Gi",
    "cpu_request": "100m",
    "cpu_limit": "1",
}


@dataclass
class Kept:
    """One thing that is kept.

    Args:
        about: what was said of it.
        contents: the file that came with it, if one did.
    """

    about: dict[str, Any]
    contents: bytes | None = None


@dataclass
class Maas:
    """All that is kept, by kind and id."""

    kept: dict[tuple[str, int], Kept] = field(default_factory=dict)
    last: int = 0

    async def create(self, request: Request) -> Response:
        """Keep something: a part `data` of JSON, and perhaps a file `contents`."""
        form = await request.form()
        contents = form.get("contents")
        about = json.loads(str(form.get("data", "{}")))
        self.last += 1
        content = None if contents is None or isinstance(contents, str) else await contents.read()
        self.kept[_kind(request), self.last] = Kept(about, content)
        return JSONResponse({"id": self.last, **about}, 201)

    async def show(self, request: Request) -> Response:
        """Show something."""
        id_ = request.path_params["id"]
        return JSONResponse({"id": id_, "download_resume_retries": 4, **self._of(request).about})

    async def list(self, request: Request) -> Response:
        """List all of a kind."""
        kind = _kind(request)
        return JSONResponse([{"id": id_, **each.about} for (of, id_), each in self.kept.items() if of == kind])

    async def download(self, request: Request) -> Response:
        """Hand out a file."""
        return Response(self._of(request).contents or b"", media_type="application/octet-stream")

    async def delete(self, request: Request) -> Response:
        """Forget something."""
        self._of(request)
        del self.kept[_kind(request), request.path_params["id"]]
        return Response(status_code=204)

    def _of(self, request: Request) -> Kept:
        found = self.kept.get((_kind(request), request.path_params["id"]))
        if found is None:
            raise HTTPException(404)
        return found


async def show_version(request: Request) -> Response:
    """Show the version of the AI engine."""
    if request.path_params["id"] != VERSION:
        return JSONResponse({"detail": "Not found."}, 404)
    engine = f"{request.url.scheme}://{request.url.netloc}/api/ai_engines/{ENGINE}/"
    return JSONResponse({"id": VERSION, "ai_engine": engine, **_LIMITS})


async def show_engine(request: Request) -> Response:
    """Show the AI engine."""
    if request.path_params["id"] != ENGINE:
        return JSONResponse({"detail": "Not found."}, 404)
    return JSONResponse({"id": ENGINE, "container_name": NAME})


async def refuse(request: Request, error: Exception) -> Response:
    """Answer for what is not there."""
    return JSONResponse({"detail": "Not found."}, 404)


def app() -> Starlette:
    """Return the stand-in, with nothing in it."""
    maas = Maas()
    return Starlette(
        routes=[
            Route("/api/ai_engines_versions/{id:int}/", show_version),
            Route("/api/ai_engines/{id:int}/", show_engine),
            Route("/api/{kind}/", maas.create, methods=["POST"]),
            Route("/api/{kind}/", maas.list),
            Route("/api/{kind}/{id:int}/", maas.show),
            Route("/api/{kind}/{id:int}/", maas.delete, methods=["DELETE"]),
            Route("/api/{kind}/{id:int}/download/", maas.download),
        ],
        exception_handlers={404: refuse},
    )


def _kind(request: Request) -> str:
    kind = str(request.path_params["kind"])
    if kind not in KINDS:
        raise HTTPException(404)
    return kind


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    uvicorn.run(app(), host=host, port=int(port), log_level="warning")
