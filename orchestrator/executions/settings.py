"""What the product of executions must be told, under the names that its operators' deployment files have, or ours."""

from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AliasChoices, AliasGenerator, BeforeValidator, Field, PositiveInt
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split(value: object) -> object:
    """Read `a,b`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _known_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("not a time zone, as in Europe/Madrid")
    return value


MEDIA_ROOT = ("ORCHESTRATOR_MEDIA_ROOT", "MEDIA_ROOT")
"""The variables one of which says that executions are served."""


def _names(name: str) -> AliasChoices:
    return AliasChoices(f"ORCHESTRATOR_{name.upper()}", name.upper())


_ALIASES = AliasGenerator(validation_alias=_names)

Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class ExecutionSettings(BaseSettings):
    """The settings of executions; they are served where `MEDIA_ROOT` is set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", alias_generator=_ALIASES)

    media_root: str | None = Field(
        None, description="where the files of schemas and executions are kept: a folder, or a URL that fsspec knows"
    )
    maas_api_hostname: str = Field("maas-service:8000", description="host:port of MaaS, for the URLs in answers")
    validate_with_maas: bool = Field(
        False,
        description="whether MaaS is asked for the versions and the models that an execution names: true or false",
    )
    valid_data_partners: Texts = Field(
        ("data-partner-1", "data-partner-2"), min_length=1, description="the data partners, separated by commas"
    )
    valid_ai_engine_functionalities: Texts = Field(
        (
            "training_from_scratch",
            "training_from_pretrained_model",
            "evaluating_from_pretrained_model",
            "merging_models",
            "inferencing_from_pretrained_model",
        ),
        min_length=1,
        description="what an AI engine may do, separated by commas",
    )
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "Europe/Madrid", description="the zone of the times in answers"
    )
    allowed_hosts: Texts = Field((), description="the hosts that requests may name, separated by commas; none: any")
    execution_data_limit: PositiveInt = Field(
        256 * 1024 * 1024, description="most bytes of the part `data` of a request (1 or more)"
    )

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the times in answers."""
        return ZoneInfo(self.time_zone)
