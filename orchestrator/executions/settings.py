"""What the product of executions must be told, under the names that its operators' deployment files have, or ours."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AliasChoices, AliasGenerator, Field, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.core.listed import Texts


def _known_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("not a time zone, as in Europe/Madrid")
    return value


MEDIA_ROOT = ("ORCHESTRATOR_MEDIA_ROOT", "MEDIA_ROOT")
"""The variables one of which says that executions are served."""


def _names(name: str) -> AliasChoices:
    return AliasChoices(f"ORCHESTRATOR_{name.upper()}", name.upper())


_ALIASES = AliasGenerator(validation_alias=_names)


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
    allowed_hosts: Texts = Field(
        (),
        description="the hosts that requests may name, separated by commas: `.a.example` is a.example and all "
        "below it, `*` any; none: any",
    )
    executions_runtime: Literal["off", "on"] = Field(
        "off",
        description="`on` has runtimes place the executions of `argo_workflows` schemas; `off` leaves them pending "
        "until a client reports of them",
    )
    executions_organization: str | None = Field(
        None,
        min_length=1,
        validation_alias=AliasChoices(
            *_names("executions_organization").choices, "ORCHESTRATOR_API_ORGANIZATION", "API_ORGANIZATION"
        ),
        description="the organization whose runtimes and central node run executions; ORCHESTRATOR_API_ORGANIZATION "
        "when not set; needed where callers are known",
    )
    executions_start_attempts: Annotated[int, Field(ge=1, le=1000)] = Field(
        30,
        description="how often an execution is tried to be started while Argo, Kafka or the runtimes are away, in some "
        "25 minutes, before it fails (1 to 1000)",
    )
    execution_data_limit: PositiveInt = Field(
        256 * 1024 * 1024, description="most bytes of the part `data` of a request (1 or more)"
    )
    orchestrator_api_hostname: str = Field(
        "orchestrator-service:8000", description="host:port of this API, as the pods of a workflow reach it"
    )
    platform_central_node_label_key: str = Field("cloudNode", description="the label of the central node: its key")
    platform_central_node_label_value: str = Field("cloudNode", description="the label of the central node: its value")
    processor_resource_manager_version: str = Field("2.0.0", description="the version of the pods' resource manager")
    processor_resource_manager_api_host: str = Field(
        "127.0.0.1:8000", description="host:port at which a pod's resource manager is reached by its engine"
    )
    processor_resource_manager_callback_url: str = Field(
        "/api/callback", description="the path there at which an engine reports"
    )
    federated_learning_manager_version: str = Field("2.0.0", description="the version of the federated manager")
    ai_engine_platform_vars_config_map_name: str = Field(
        "ai-engine-config", description="the config map of the variables that an engine is given"
    )
    ai_engine_platform_vars_input_elements: str = Field(
        "/tmp/input_elements/", description="where an engine finds its input"
    )
    ai_engine_platform_vars_input_data_training_tabular: str = Field(
        "/tmp/input_elements/platform_data/",
        description="its tabular data for training; with the path of the images, a pod that mounts both is invalid",
    )
    ai_engine_platform_vars_input_data_training_imagery: str = Field(
        "/tmp/input_elements/platform_data/", description="its images for training"
    )
    ai_engine_platform_vars_input_data_evaluation_tabular: str = Field(
        "/tmp/input_elements/platform_data/", description="its tabular data for evaluation; as for training"
    )
    ai_engine_platform_vars_input_data_evaluation_imagery: str = Field(
        "/tmp/input_elements/platform_data/", description="its images for evaluation"
    )
    ai_engine_platform_vars_input_data_inference: str = Field(
        "/tmp/input_elements/external_data/", description="its data for inference"
    )
    ai_engine_platform_vars_input_data_inference_report_metadata: str = Field(
        "/tmp/input_elements/external_data/report_metadata.json", description="the report's metadata for inference"
    )
    ai_engine_platform_vars_input_ai_elements: str = Field(
        "/tmp/ai_elements/", description="where an engine finds models and variables"
    )
    ai_engine_platform_vars_input_user_vars: str = Field(
        "/tmp/ai_elements/ai_engine_version_user_vars.json", description="the variables of its user"
    )
    ai_engine_platform_vars_input_model: str = Field("/tmp/ai_elements/ai_model/", description="its input model")
    ai_engine_platform_vars_input_models: str = Field(
        "/tmp/ai_elements/ai_models/", description="the models that it merges"
    )
    ai_engine_platform_vars_output_elements: str = Field(
        "/tmp/output_elements/", description="where an engine leaves what it makes"
    )
    ai_engine_platform_vars_output_model: str = Field("/tmp/output_elements/ai_model/", description="its model")
    ai_engine_platform_vars_output_evaluation_metrics: str = Field(
        "/tmp/output_elements/evaluation_metrics.json", description="its metrics"
    )
    ai_engine_platform_vars_output_inference_results: str = Field(
        "/tmp/output_elements/generic_file/", description="its results of an inference"
    )
    ai_engine_platform_vars_api_ping_url: str = Field(
        "/api/ping", description="the path at which an engine says that it lives"
    )
    ai_engine_platform_vars_api_run_url: str = Field("/api/run", description="the path at which it is told to run")
    ai_engine_platform_vars_api_end_url: str = Field("/api/end", description="the path at which it is told to end")
    ai_engine_platform_vars_api_host: str = Field("127.0.0.1:8001", description="host:port of an engine")

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the times in answers."""
        return ZoneInfo(self.time_zone)
