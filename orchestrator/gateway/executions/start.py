"""What serves executions, where the operator says where their files are kept."""

from collections.abc import Sequence
from typing import cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings
from starlette.routing import Route

from orchestrator.calls.call import Calls
from orchestrator.core.settings_errors import explain
from orchestrator.executions.files import Files
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway.executions import edge
from orchestrator.gateway.executions.calls import ExecutionCalls
from orchestrator.gateway.identity import Identity

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
    try:
        settings = cast(ExecutionSettings, _SETTINGS())
    except ValidationError as error:
        raise ValueError(explain(error, ExecutionSettings)) from error
    if settings.media_root is None:
        return ()
    try:
        files = Files(settings.media_root)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"MEDIA_ROOT {settings.media_root} cannot be used: {error}") from error
    return edge.routes(ExecutionCalls(calls, identity, settings, files).paths(), settings, identity.challenge)
