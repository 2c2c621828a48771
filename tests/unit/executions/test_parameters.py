import json
from datetime import UTC, datetime

import pytest

from orchestrator import protos as pb
from orchestrator.executions.errors import WholeError
from orchestrator.executions.maas import STAND_IN
from orchestrator.executions.runtimes import adapters
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.executions.templates import parameters

PLATFORM = [
    "platform_centralNodeLabelKey",
    "platform_centralNodeLabelValue",
    "platform_maasApiHostname",
    "platform_orchestratorApiHostname",
    "platform_processorResourceManagerVersion",
    "platform_processorResourceManagerCallbackUrl",
    "platform_processorResourceManagerApiHost",
    "platform_federatedLearningManagerVersion",
    "aiEngine_plaformVarsConfigMapName",
    "aiEngine_plaformVarsInputElements",
    "aiEngine_plaformVarsInputDataTrainingTabular",
    "aiEngine_plaformVarsInputDataTrainingImagery",
    "aiEngine_plaformVarsInputDataEvaluationTabular",
    "aiEngine_plaformVarsInputDataEvaluationImagery",
    "aiEngine_plaformVarsInputDataInference",
    "aiEngine_plaformVarsInputDataInferenceReportMetadata",
    "aiEngine_plaformVarsInputAIElements",
    "aiEngine_plaformVarsInputUserVars",
    "aiEngine_plaformVarsInputModel",
    "aiEngine_plaformVarsInputModels",
    "aiEngine_plaformVarsOutputElements",
    "aiEngine_plaformVarsOutputModel",
    "aiEngine_plaformVarsOutputEvaluationMetrics",
    "aiEngine_plaformVarsOutputInferenceResults",
    "aiEngine_plaformVarsApiPingUrl",
    "aiEngine_plaformVarsApiRunUrl",
    "aiEngine_plaformVarsApiEndUrl",
    "aiEngine_plaformVarsApiHost",
    "execution_id",
]

DATA = ["execution_dataPartner", "execution_dataPartnerDataPath", "execution_dataPartnerPatients"]
FEDERATED_DATA = ["execution_dataPartnerPatients", "execution_dataPartnerPatientsList"]
FEDERATED = ["execution_federatedConfigNumberIterations", "execution_federatedConfigNumberDataPartners"]
OUTPUT = ["execution_outputAIModelName", "execution_outputAIModelDescription", "execution_outputAIModelMergeType"]

CREATED = datetime(2026, 11, 26, 21, 26, 44, 108113, tzinfo=UTC)


def engine(descriptor, model):
    version = f"execution_{descriptor}-container-version"
    names = [
        f"execution_{descriptor}-version",
        f"execution_{descriptor}-container-name",
        version,
        f"{version}-max-iteration-time",
        f"{version}-memory-request",
        f"{version}-cpu-request",
        f"{version}-memory-limit",
        f"{version}-cpu-limit",
    ]
    its_model = [f"execution_{descriptor}-ai-model", f"execution_{descriptor}-ai-model-download-resume-retries"]
    return names + (its_model if model else [])


def hosts(descriptor):
    return [f"execution_{descriptor}-prm-api-host", f"execution_{descriptor}-plaform-vars-api-host"]


SETTINGS = ExecutionSettings()


def made(data=False, federated=False, output=False, engines=(("main", False),), id_=7, settings=SETTINGS):
    partners = [
        pb.PartnerPatients(name="data-partner-1", patients=['"p-1"', "2"], system_path="/srv"),
        pb.PartnerPatients(name="data-partner-2", patients=['"q-1"'], system_path=""),
    ]
    execution = pb.Execution(
        id=id_,
        partners=(partners if federated else partners[:1]) if data else [],
        number_iterations=3 if federated else 0,
        engines=[
            pb.ExecutionEngine(descriptor_name=name, version=4, ai_model=9 if model else None, values=STAND_IN)
            for name, model in engines
        ],
        output_model=pb.OutputModel(name="m", description="d") if output else None,
    )
    execution.created_at.FromDatetime(CREATED)
    schema = pb.WorkflowSchema(platform_data=data, federated_learning_configuration=federated, output_ai_model=output)
    return parameters.of(execution, schema, settings)


@pytest.mark.parametrize(
    ("asked", "count", "names"),
    [
        ({"data": True, "engines": [("main", True)]}, 44, [*DATA, *engine("main", True)]),
        ({"engines": [("main", True)]}, 41, engine("main", True)),
        (
            {"data": True, "output": True, "engines": [("main", True)]},
            47,
            [*DATA, *engine("main", True), *OUTPUT],
        ),
        ({"data": True, "output": True}, 45, [*DATA, *engine("main", False), *OUTPUT]),
        (
            {"data": True, "federated": True, "output": True, "engines": [("main", True)]},
            49,
            [*FEDERATED_DATA, *FEDERATED, *engine("main", True), *OUTPUT],
        ),
        (
            {"data": True, "federated": True, "output": True},
            47,
            [*FEDERATED_DATA, *FEDERATED, *engine("main", False), *OUTPUT],
        ),
    ],
    ids=["evaluation", "inference", "continued training", "training", "continued federated", "federated"],
)
def test_the_names_are_those_of_the_contract_in_its_order(asked, count, names):
    found = [name for name, _ in made(**asked)]
    last = ["execution_communicationAdapterId"] if asked.get("federated") else []
    assert found == [*PLATFORM, *names, *hosts("main"), *last]
    assert len(found) == count


def test_of_several_engines_the_hosts_come_after_all_else_in_the_order_sent():
    found = [name for name, _ in made(output=True, engines=[("b", True), ("a", False)])]
    assert found == [*PLATFORM, *engine("b", True), *engine("a", False), *OUTPUT, *hosts("b"), *hosts("a")]


def test_values_are_texts_numbers_in_decimal_and_objects_as_json():
    values = dict(made(data=True, federated=True, output=True, engines=[("main", True)]))
    assert all(isinstance(value, str) for value in values.values())
    assert json.loads(values["execution_dataPartnerPatients"]) == {
        "data-partner-1": ["p-1", 2],
        "data-partner-2": ["q-1"],
    }
    assert json.loads(values["execution_dataPartnerPatientsList"]) == [
        {"data_partner": "data-partner-1", "data_path": "/srv"},
        {"data_partner": "data-partner-2", "data_path": ""},
    ]
    expected = {
        "platform_centralNodeLabelKey": "cloudNode",
        "platform_maasApiHostname": "maas-service:8000",
        "platform_orchestratorApiHostname": "orchestrator-service:8000",
        "platform_processorResourceManagerCallbackUrl": "/api/callback",
        "aiEngine_plaformVarsOutputEvaluationMetrics": "/tmp/output_elements/evaluation_metrics.json",
        "aiEngine_plaformVarsOutputInferenceResults": "/tmp/output_elements/generic_file/",
        "aiEngine_plaformVarsApiHost": "127.0.0.1:8001",
        "execution_id": "7",
        "execution_federatedConfigNumberIterations": "3",
        "execution_federatedConfigNumberDataPartners": "2",
        "execution_main-version": "4",
        "execution_main-container-version": "dummy",
        "execution_main-container-version-max-iteration-time": "1200",
        "execution_main-container-version-cpu-limit": "4000m",
        "execution_main-ai-model": "9",
        "execution_main-ai-model-download-resume-retries": "4",
        "execution_outputAIModelName": "m",
        "execution_outputAIModelMergeType": "default",
        "execution_communicationAdapterId": "7_-SEP-_2026-11-26_21-26-44.108113_00-00_-SEP-_",
    }
    assert expected.items() <= values.items()


def test_one_partner_is_told_alone():
    values = dict(made(data=True))
    assert values["execution_dataPartner"] == "data-partner-1"
    assert values["execution_dataPartnerDataPath"] == "/srv"
    assert json.loads(values["execution_dataPartnerPatients"]) == {"data-partner-1": ["p-1", 2]}


def test_settings_are_heard_under_the_names_of_existing_deployments(monkeypatch):
    monkeypatch.setenv("MAAS_API_HOSTNAME", "maas:1")
    monkeypatch.setenv("ORCHESTRATOR_API_HOSTNAME", "us:2")
    monkeypatch.setenv("PROCESSOR_RESOURCE_MANAGER_API_HOST", "127.0.0.1:3")
    monkeypatch.setenv("AI_ENGINE_PLATFORM_VARS_API_END_URL", "/end")
    values = dict(made(settings=ExecutionSettings()))
    assert values["platform_maasApiHostname"] == "maas:1"
    assert values["platform_orchestratorApiHostname"] == "us:2"
    assert values["platform_processorResourceManagerApiHost"] == "127.0.0.1:3"
    assert values["aiEngine_plaformVarsApiEndUrl"] == "/end"


def test_a_placeholder_in_what_was_sent_is_none_in_json():
    patients = pb.PartnerPatients(name="data-partner-1", patients=[json.dumps("{{{{workflow.name}}")], system_path="")
    execution = pb.Execution(partners=[patients])
    values = dict(parameters.of(execution, pb.WorkflowSchema(platform_data=True), SETTINGS))
    text = values["execution_dataPartnerPatients"]
    assert "{{" not in text
    assert json.loads(text) == {"data-partner-1": ["{{{{workflow.name}}"]}


def ports(values):
    found = [value for name, value in values if name.endswith("-api-host") and name.startswith("execution_")]
    assert all(value.startswith("127.0.0.1:") for value in found)
    return [int(value.removeprefix("127.0.0.1:")) for value in found]


@pytest.mark.parametrize("id_", [1, 2047, 2048, 2**63 - 1])
def test_ports_are_distinct_and_those_that_nothing_else_has(id_):
    found = ports(made(engines=[(f"e{n}", False) for n in range(50)], id_=id_))
    assert len(set(found)) == 100
    assert 49152 <= min(found) <= max(found) <= 65535


def test_executions_that_follow_each_other_share_no_port():
    several = [ports(made(engines=[("a", False), ("b", False)], id_=id_)) for id_ in range(1, 2049, 16)]
    several += [ports(made(engines=[("a", False), ("b", False)], id_=id_)) for id_ in range(2, 2049, 16)]
    assert len({port for each in several for port in each}) == 4 * 256


def test_more_engines_than_ports_are_refused():
    with pytest.raises(WholeError, match="8193 AI engines need more ports"):
        made(engines=[(f"e{n}", False) for n in range(8193)])


def test_an_adapter_says_its_execution_and_when_it_was_made():
    execution = pb.Execution(id=12)
    execution.created_at.FromDatetime(CREATED.replace(microsecond=0))
    assert adapters.name(execution) == "12_-SEP-_2026-11-26_21-26-44.000000_00-00_-SEP-_"
