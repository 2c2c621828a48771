"""The parameters of a workflow: what a template is told of the execution that it runs."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator import protos as pb
from orchestrator.executions.errors import WholeError
from orchestrator.executions.forms import partners
from orchestrator.executions.runtimes import adapters
from orchestrator.executions.settings import ExecutionSettings

_OF_PLATFORM = (
    ("centralNodeLabelKey", "platform_central_node_label_key"),
    ("centralNodeLabelValue", "platform_central_node_label_value"),
    ("maasApiHostname", "maas_api_hostname"),
    ("orchestratorApiHostname", "orchestrator_api_hostname"),
    ("processorResourceManagerVersion", "processor_resource_manager_version"),
    ("processorResourceManagerCallbackUrl", "processor_resource_manager_callback_url"),
    ("processorResourceManagerApiHost", "processor_resource_manager_api_host"),
    ("federatedLearningManagerVersion", "federated_learning_manager_version"),
)
"""What follows `platform_`, and the setting that says it."""

_OF_ENGINES = (
    ("ConfigMapName", "config_map_name"),
    ("InputElements", "input_elements"),
    ("InputDataTrainingTabular", "input_data_training_tabular"),
    ("InputDataTrainingImagery", "input_data_training_imagery"),
    ("InputDataEvaluationTabular", "input_data_evaluation_tabular"),
    ("InputDataEvaluationImagery", "input_data_evaluation_imagery"),
    ("InputDataInference", "input_data_inference"),
    ("InputDataInferenceReportMetadata", "input_data_inference_report_metadata"),
    ("InputAIElements", "input_ai_elements"),
    ("InputUserVars", "input_user_vars"),
    ("InputModel", "input_model"),
    ("InputModels", "input_models"),
    ("OutputElements", "output_elements"),
    ("OutputModel", "output_model"),
    ("OutputEvaluationMetrics", "output_evaluation_metrics"),
    ("OutputInferenceResults", "output_inference_results"),
    ("ApiPingUrl", "api_ping_url"),
    ("ApiRunUrl", "api_run_url"),
    ("ApiEndUrl", "api_end_url"),
    ("ApiHost", "api_host"),
)
"""What follows `aiEngine_plaformVars` (so the contract spells it), and the setting that says it."""

_FIRST_PORT, _PORTS = 49152, 2**16 - 49152
_PORTS_EACH = 8
"""So many executions of up to four engines follow each other before one is given the ports of another."""


def of(execution: pb.Execution, schema: pb.WorkflowSchema, settings: ExecutionSettings) -> list[tuple[str, str]]:
    """Return the parameters of an execution, names and values, in the contract's order.

    Args:
        execution: with its id and its dates.
        schema: its schema.
        settings: of executions.

    Raises:
        WholeError: it has more engines than there are ports for them, or two engines share a parameter.
    """
    told = [
        *((f"platform_{name}", str(getattr(settings, field))) for name, field in _OF_PLATFORM),
        *(
            (f"aiEngine_plaformVars{name}", str(getattr(settings, f"ai_engine_platform_vars_{field}")))
            for name, field in _OF_ENGINES
        ),
        *((f"execution_{name}", value) for name, value in _of_execution(execution, schema)),
    ]
    # Schemas from elsewhere may have such engines.
    counts = Counter(name for name, _ in told)
    if twice := next((name for name, count in counts.items() if count > 1), ""):
        raise WholeError(f"two AI engines of the schema have the parameter {twice}")
    return told


def of_descriptor(descriptor: str) -> list[str]:
    """Return the names of all parameters that an engine of a descriptor may have."""
    engine = pb.ExecutionEngine(descriptor_name=descriptor, ai_model=0)
    hosts = _of_hosts(pb.Execution(engines=[engine]))
    return [f"execution_{name}" for name, _ in (*_of_engine(engine), *hosts)]


def _of_execution(execution: pb.Execution, schema: pb.WorkflowSchema) -> Iterator[tuple[str, str]]:
    federated = schema.federated_learning_configuration
    yield "id", str(execution.id)
    if schema.platform_data:
        yield from _of_data(execution, federated)
    if federated:
        yield "federatedConfigNumberIterations", str(execution.number_iterations)
        yield "federatedConfigNumberDataPartners", str(len(execution.partners))
    for engine in execution.engines:
        yield from _of_engine(engine)
    if execution.HasField("output_model"):
        model = execution.output_model
        yield "outputAIModelName", model.name
        yield "outputAIModelDescription", model.description
        yield "outputAIModelMergeType", model.merge_type if model.HasField("merge_type") else "default"
    yield from _of_hosts(execution)
    if federated:
        yield "communicationAdapterId", adapters.name(execution)


def _of_data(execution: pb.Execution, federated: bool) -> Iterator[tuple[str, str]]:
    patients = _json(partners.patients(execution.partners))
    if federated:
        yield "dataPartnerPatients", patients
        paths = [{"data_partner": each.name, "data_path": each.system_path} for each in execution.partners]
        yield "dataPartnerPatientsList", _json(paths)
    else:
        (partner,) = execution.partners
        yield "dataPartner", partner.name
        yield "dataPartnerDataPath", partner.system_path
        yield "dataPartnerPatients", patients


def _of_engine(engine: pb.ExecutionEngine) -> Iterator[tuple[str, str]]:
    descriptor, values = engine.descriptor_name, engine.values
    yield f"{descriptor}-version", str(engine.version)
    yield f"{descriptor}-container-name", values.container_name
    container = f"{descriptor}-container-version"
    yield container, values.container_version
    yield f"{container}-max-iteration-time", values.max_iteration_time
    yield f"{container}-memory-request", values.memory_request
    yield f"{container}-cpu-request", values.cpu_request
    yield f"{container}-memory-limit", values.memory_limit
    yield f"{container}-cpu-limit", values.cpu_limit
    if engine.HasField("ai_model"):
        yield f"{descriptor}-ai-model", str(engine.ai_model)
        yield f"{descriptor}-ai-model-download-resume-retries", values.download_resume_retries


def _of_hosts(execution: pb.Execution) -> Iterator[tuple[str, str]]:
    if 2 * len(execution.engines) > _PORTS:
        raise WholeError(f"{len(execution.engines)} AI engines need more ports than there are: {_PORTS}, two for each")
    # By the id, so that executions that run side by side on one host meet at none.
    port = execution.id * _PORTS_EACH
    for engine in execution.engines:
        for name in ("prm-api-host", "plaform-vars-api-host"):
            yield f"{engine.descriptor_name}-{name}", f"127.0.0.1:{_FIRST_PORT + port % _PORTS}"
            port += 1


def _json(value: Mapping[str, Any] | list[Any]) -> str:
    """Return a value as JSON in which nothing stands that a workflow would replace: no structure of JSON has a `{{`."""
    return json.dumps(value).replace("{{", "{\\u007b")
