"""What the HTTP of problems must be told besides its address."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.core.listed import Texts

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ProblemsHttpSettings(BaseSettings):
    """How front ends, consoles and scripts are answered, where `ORCHESTRATOR_PROBLEMS_ADDRESS` is set."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_PROBLEMS_", env_ignore_empty=True, extra="ignore")

    hosts: Texts = Field(
        (),
        description="more hosts that the header Host of a request may name, separated by commas: `.a.example` is "
        "a.example and all below it, `*` any",
    )
    origins: Texts = Field(
        (),
        description="pages that may call from a browser, separated by commas, as in https://console.example; those "
        "that are served at the host that they call may, too",
    )
    longest_wait: Seconds = Field(
        3600.0, description="seconds that a request for a result waits before it is answered 504 (up to 86400)"
    )
    dataset_folders: Texts = Field(
        (),
        description="folders on the modules' machines, separated by commas, of which clients may name files in "
        "`dataset_path` requests; none: such requests are refused",
    )
    model_hub_address: str | None = Field(
        None,
        pattern=r"^https?://",
        description="the URL at which the model hub tells of a model, as in https://hub.example/api/models; none: "
        "`/hf_models_info` answers 503",
    )
    model_hub_token: SecretStr | None = Field(None, description="a bearer token for the model hub")
    language_model_address: str | None = Field(
        None,
        pattern=r"^https?://",
        description="the URL of a local language model that compares models, which takes chat completions, as in "
        "http://127.0.0.1:11434/v1/chat/completions; none: `/hf_models_compare` answers 503",
    )
    language_model: str = Field("llama3.2", min_length=1, description="the name of that model")
