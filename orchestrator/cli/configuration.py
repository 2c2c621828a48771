"""Reads the settings of a command, and ends it with one line where they are wrong."""

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from orchestrator.cli.errors import UsageFault
from orchestrator.core.settings_errors import explain

Settings = TypeVar("Settings", bound=BaseSettings)


def configure(settings: type[Settings], **given: Any) -> Settings:
    """Return settings from the environment.

    Args:
        settings: their class.
        given: what the command line says; it goes before the environment.

    Raises:
        UsageFault: a variable is missing or wrong; the line names it and says what is expected.
    """
    try:
        return settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise UsageFault(explain(error, settings)) from error
