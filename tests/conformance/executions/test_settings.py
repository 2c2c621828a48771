"""The settings of section 11 of the contract, under the names that an operator's deployment file has."""

import pytest
from pydantic_settings import BaseSettings

from orchestrator.executions.settings import ExecutionSettings
from workers.runtime.argo import ArgoSettings
from workers.runtime.kafka import KafkaSettings

_VARS = "AI_ENGINE_PLATFORM_VARS_"
_PLATFORM_DATA = "/tmp/input_elements/platform_data/"

TABLE = {
    "MAAS_API_HOSTNAME": "maas-service:8000",
    "ORCHESTRATOR_API_HOSTNAME": "orchestrator-service:8000",
    "VALID_DATA_PARTNERS": "data-partner-1,data-partner-2",
    "VALID_AI_ENGINE_FUNCTIONALITIES": "training_from_scratch,training_from_pretrained_model,"
    "evaluating_from_pretrained_model,merging_models,inferencing_from_pretrained_model",
    "PLATFORM_CENTRAL_NODE_LABEL_KEY": "cloudNode",
    "PLATFORM_CENTRAL_NODE_LABEL_VALUE": "cloudNode",
    "PROCESSOR_RESOURCE_MANAGER_VERSION": "2.0.0",
    "PROCESSOR_RESOURCE_MANAGER_API_HOST": "127.0.0.1:8000",
    "PROCESSOR_RESOURCE_MANAGER_CALLBACK_URL": "/api/callback",
    "FEDERATED_LEARNING_MANAGER_VERSION": "2.0.0",
    f"{_VARS}CONFIG_MAP_NAME": "ai-engine-config",
    f"{_VARS}INPUT_ELEMENTS": "/tmp/input_elements/",
    f"{_VARS}INPUT_DATA_TRAINING_TABULAR": _PLATFORM_DATA,
    f"{_VARS}INPUT_DATA_TRAINING_IMAGERY": _PLATFORM_DATA,
    f"{_VARS}INPUT_DATA_EVALUATION_TABULAR": _PLATFORM_DATA,
    f"{_VARS}INPUT_DATA_EVALUATION_IMAGERY": _PLATFORM_DATA,
    f"{_VARS}INPUT_DATA_INFERENCE": "/tmp/input_elements/external_data/",
    f"{_VARS}INPUT_DATA_INFERENCE_REPORT_METADATA": "/tmp/input_elements/external_data/report_metadata.json",
    f"{_VARS}INPUT_AI_ELEMENTS": "/tmp/ai_elements/",
    f"{_VARS}INPUT_USER_VARS": "/tmp/ai_elements/ai_engine_version_user_vars.json",
    f"{_VARS}INPUT_MODEL": "/tmp/ai_elements/ai_model/",
    f"{_VARS}INPUT_MODELS": "/tmp/ai_elements/ai_models/",
    f"{_VARS}OUTPUT_ELEMENTS": "/tmp/output_elements/",
    f"{_VARS}OUTPUT_MODEL": "/tmp/output_elements/ai_model/",
    f"{_VARS}OUTPUT_EVALUATION_METRICS": "/tmp/output_elements/evaluation_metrics.json",
    f"{_VARS}OUTPUT_INFERENCE_RESULTS": "/tmp/output_elements/generic_file/",
    f"{_VARS}API_PING_URL": "/api/ping",
    f"{_VARS}API_RUN_URL": "/api/run",
    f"{_VARS}API_END_URL": "/api/end",
    f"{_VARS}API_HOST": "127.0.0.1:8001",
    "ARGO_WORKFLOWS_API_HOST": "https://localhost:2746",
    "ARGO_WORKFLOWS_NAMESPACE": "incisive-dev",
    "COMMUNICATION_ADAPTER": "kafka",
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "ALLOWED_HOSTS": "",
    "TIME_ZONE": "Europe/Madrid",
    "MEDIA_ROOT": "",
}
"""Name -> default."""

GIVEN = {"ARGO_WORKFLOWS_API_HOST": "https://argo.example:2746", "COMMUNICATION_ADAPTER": "kafka", "TIME_ZONE": "UTC"}
"""What is given where not every text is one."""


def read(name: str) -> str:
    """Return a setting as the process has it that needs it."""
    sets: tuple[type[BaseSettings], ...] = (ExecutionSettings, ArgoSettings, KafkaSettings)
    (where,) = [each for each in sets if name.lower() in each.model_fields]
    value = getattr(where(), name.lower())
    return ",".join(value) if isinstance(value, tuple) else value or ""


@pytest.mark.parametrize("name", TABLE)
def test_a_setting_has_the_default_of_the_table_and_is_heard_under_its_name(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(name, raising=False)
    assert read(name) == TABLE[name]
    given = GIVEN.get(name, "one,two")
    monkeypatch.setenv(name, given)
    assert read(name) == given


@pytest.mark.parametrize("word", ["yes", "true", "t", "y", "1"])
def test_what_a_yes_is(word: str, monkeypatch: pytest.MonkeyPatch):
    assert ExecutionSettings().validate_with_maas is False
    monkeypatch.setenv("VALIDATE_WITH_MAAS", word)
    assert ExecutionSettings().validate_with_maas is True


def test_no_other_adapter_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COMMUNICATION_ADAPTER", "rabbitmq")
    with pytest.raises(ValueError, match="COMMUNICATION_ADAPTER"):
        KafkaSettings()
