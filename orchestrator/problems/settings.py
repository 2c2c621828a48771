"""What the product of problems must be told; server and beat read the same variables."""

from functools import cache
from typing import Annotated, Literal, cast

from cryptography.fernet import Fernet
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, NonNegativeInt, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from orchestrator.core.listed import Texts
from orchestrator.problems import graph
from orchestrator.settings import Duration


def _limits(value: object) -> object:
    """Read `ML_MODEL=10m,HW_RESOURCES=60s`."""
    if isinstance(value, str):
        limits: dict[str, str] = {}
        for part in filter(str.strip, value.split(",")):
            name, _, seconds = map(str.strip, part.partition("="))
            if name in limits:
                raise ValueError(f"{name} is there a second time; once is expected")
            limits[name] = seconds
        return limits
    return value


def _known(value: object) -> object:
    if isinstance(value, dict) and (unknown := [name for name in value if graph.named(str(name)) is None]):
        raise ValueError(f"{unknown[0]} is no kind of module")
    return value


def _fernet(value: SecretStr) -> SecretStr:
    try:
        Fernet(value.get_secret_value())
    except ValueError as error:
        raise ValueError("not a key of Fernet, which is 32 bytes in URL-safe base64") from error
    return value


Limits = Annotated[
    dict[str, Annotated[Duration, Field(gt=0)]], NoDecode, BeforeValidator(_known), BeforeValidator(_limits)
]


class ProblemSettings(BaseSettings):
    """The settings of problems."""

    model_config = SettingsConfigDict(
        env_prefix="ORCHESTRATOR_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    problems_soft_limit: Duration = Field(120.0, gt=0, description="how long a stage may run before it is called slow")
    problems_hard_limit: Duration = Field(900.0, gt=0, description="how long a stage may run before it is stopped")
    problems_soft_limits: Limits = Field(
        {}, description="the same for single kinds of modules, as in `ML_MODEL=10m,HW_RESOURCES=60s`"
    )
    problems_hard_limits: Limits = Field({}, description="the same for single kinds of modules")
    problems_grace: Duration = Field(
        10.0, ge=0, description="how long a callback that was told to stop may take before it is stopped"
    )
    problems_drain: Duration = Field(
        60.0, ge=0, description="how long what a module runs may take after TERMINATE_NODE"
    )
    problems_time_limit: Duration = Field(
        3600.0, ge=0, description="how long an iteration may take from its start, 0 for ever"
    )
    problems_attempts: PositiveInt = Field(
        1, le=1000, description="attempts of a stage whose callback fails or whose output does not fit (1 to 1000)"
    )
    problems_timeout_attempts: PositiveInt = Field(
        1, le=1000, description="attempts of a stage that exceeds its hard limit (1 to 1000)"
    )
    problems_lost_attempts: PositiveInt = Field(
        3, le=1000, description="attempts of a stage whose module is lost (1 to 1000)"
    )
    problems_set_aside: NonNegativeInt = Field(
        3, description="after how many failures in a row a module is set aside; 0 for never"
    )
    problems_in_band_errors: Literal["warn", "fail"] = Field(
        "warn",
        description="what is done with an output that says of itself that it is an error: `warn` hands it on, `fail` "
        "fails its stage",
    )
    problems_command_patience: Duration = Field(
        60.0, gt=0, description="how long a command waits for a module that is not there"
    )
    problems_prepared_age: Duration = Field(
        86400.0, gt=0, description="how long a prepared task may wait to be started before it is removed"
    )
    module_period: Duration = Field(5.0, gt=0, description="how often a module says that it lives")
    module_silence: Duration = Field(
        18.0,
        gt=0,
        description="how long nothing may be heard of a module before it is taken for gone; the sweep that looks for "
        "it comes after that",
    )
    problems_largest_output: PositiveInt = Field(64 * 1024 * 1024, description="most bytes of a stage's output")
    problems_secret_names: Texts = Field(
        ("hf_token",), description="the keys of `extra_data` whose values are secrets, separated by commas"
    )
    problems_secret_key: Annotated[SecretStr, AfterValidator(_fernet)] | None = Field(
        None,
        description="a key of Fernet, by which clients' own secrets are kept until their iteration has ended; make "
        'one by `python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`',
    )
    hf_token: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("ORCHESTRATOR_HF_TOKEN", "HF_TOKEN"),
        description="the access token of a model hub that modules are given",
    )

    def soft_limit(self, kind: int) -> float:
        """How long a stage of a kind may run before it is called slow, in seconds."""
        return self.problems_soft_limits.get(graph.KINDS[kind].name, self.problems_soft_limit)

    def hard_limit(self, kind: int) -> float:
        """How long a stage of a kind may run before it is stopped, in seconds."""
        return self.problems_hard_limits.get(graph.KINDS[kind].name, self.problems_hard_limit)


# A type checker would ask for all of them as arguments.
_SETTINGS: type[BaseSettings] = ProblemSettings


@cache
def current() -> ProblemSettings:
    """Return the settings of this process; they are read once.

    Raises:
        pydantic.ValidationError: a variable is not as it should be.
    """
    return cast(ProblemSettings, _SETTINGS())
