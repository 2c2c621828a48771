"""What serves executions, where the operator says where their files are kept."""

import os
from collections.abc import Sequence
from typing import cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.calls.call import Calls
from orchestrator.core.settings_errors import explain
from orchestrator.executions.files.storage import Files
from orchestrator.executions.settings import MEDIA_ROOT, ExecutionSettings
from orchestrator.gateway.executions import edge, openapi
from orchestrator.gateway.executions.answers import body
from orchestrator.gateway.executions.execution_calls import ExecutionCalls
from orchestrator.gateway.executions.schema_calls import SchemaCalls
from orchestrator.gateway.identity import Identity

DESCRIPTION = "/openapi/executions.json"
"""Where the API is described; for anybody, since it says nothing of what is kept."""

# Their fields come from the environment.
_SETTINGS: type[BaseSettings] = ExecutionSettings


def routes(calls: Calls, identity: Identity) -> Sequence[Route]:
    """Return the routes of executions; none where `MEDIA_ROOT` is not set.

    Args:
        calls: answers them.
        identity: says who calls.

    Raises:
        ValueError: a setting is wrong, in one line.
        OSError: files cannot be kept there.
    """
    if not any(os.environ.get(name) for name in MEDIA_ROOT):
        # What else is called as one of the settings is then none of ours.
        return ()
    try:
        settings = cast(ExecutionSettings, _SETTINGS())
    except ValidationError as error:
        raise ValueError(explain(error, ExecutionSettings)) from error
    if not identity.open and settings.executions_organization is None:
        raise ValueError(
            "ORCHESTRATOR_EXECUTIONS_ORGANIZATION is needed, since callers of executions are told apart: the "
            "organization that runs them, whose central containers read what was sent for data partners, and report"
        )
    try:
        files = Files(settings.media_root or "")
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"MEDIA_ROOT {settings.media_root} cannot be used: {error}") from error
    described = body(openapi.document(settings))

    async def describe(_: Request) -> Response:
        return Response(described, media_type="application/json")

    paths = [
        *SchemaCalls(calls, identity, settings, files).paths(),
        *ExecutionCalls(calls, identity, settings, files).paths(),
    ]
    return [Route(DESCRIPTION, describe), *edge.routes(paths, settings, identity.challenge)]
