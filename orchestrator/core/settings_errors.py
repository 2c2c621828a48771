"""Turns pydantic's report on wrong settings into one line for the person who starts the program."""

from pydantic import AliasChoices, ValidationError
from pydantic_settings import BaseSettings

from orchestrator.core.documents import DocumentError


def explain(error: ValidationError, settings: type[BaseSettings]) -> str:
    """Return one line that names each wrong variable and says what is expected of it.

    Values are never repeated: they may hold passwords.

    Args:
        error: what making the settings raised.
        settings: their class; its fields' descriptions say what is expected.
    """
    return "; ".join(
        _explain(detail["type"], detail["loc"], detail["msg"], settings) + _where(detail.get("ctx", {}).get("error"))
        for detail in error.errors()
    )


def _where(cause: object) -> str:
    return f": {cause}" if isinstance(cause, DocumentError) else ""


def _explain(kind: str, location: tuple[int | str, ...], message: str, settings: type[BaseSettings]) -> str:
    if not location:
        return message.removeprefix("Value error, ")
    name = str(location[0])
    variable = f"{settings.model_config.get('env_prefix', '')}{name}".upper()
    field = settings.model_fields.get(name)
    if field is None:
        # It has several names of its own.
        for each in settings.model_fields.values():
            if isinstance(each.validation_alias, AliasChoices) and name in each.validation_alias.choices:
                field, variable = each, " or ".join(map(str, each.validation_alias.choices))
    expected = (field.description if field else None) or message.removeprefix("Value error, ")
    if kind == "missing":
        return f"{variable} is missing: expected {expected}"
    return f"{variable} is wrong: expected {expected}"
