"""What Argo is sent of an execution, and the topics of a federated run: sections 8 and 9 of the contract.

Written as the page is: a name a line, with its value where a setting says it.
"""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, ConfigResource

from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kit.argo import NAMESPACE
from tests.kit.installation import TEMPLATE, Installation
from tests.kit.portal import PARTNERS
from tests.kit.waiting import wait_until

SETTINGS = {
    "platform_centralNodeLabelKey": "cloudNode",
    "platform_centralNodeLabelValue": "cloudNode",
    "platform_maasApiHostname": "maas-service:8000",
    "platform_orchestratorApiHostname": "orchestrator-service:8000",
    "platform_processorResourceManagerVersion": "2.0.0",
    "platform_processorResourceManagerCallbackUrl": "/api/callback",
    "platform_processorResourceManagerApiHost": "127.0.0.1:8000",
    "platform_federatedLearningManagerVersion": "2.0.0",
    "aiEngine_plaformVarsConfigMapName": "ai-engine-config",
    "aiEngine_plaformVarsInputElements": "/tmp/input_elements/",
    "aiEngine_plaformVarsInputDataTrainingTabular": "/tmp/input_elements/platform_data/",
    "aiEngine_plaformVarsInputDataTrainingImagery": "/tmp/input_elements/platform_data/",
    "aiEngine_plaformVarsInputDataEvaluationTabular": "/tmp/input_elements/platform_data/",
    "aiEngine_plaformVarsInputDataEvaluationImagery": "/tmp/input_elements/platform_data/",
    "aiEngine_plaformVarsInputDataInference": "/tmp/input_elements/external_data/",
    "aiEngine_plaformVarsInputDataInferenceReportMetadata": "/tmp/input_elements/external_data/report_metadata.json",
    "aiEngine_plaformVarsInputAIElements": "/tmp/ai_elements/",
    "aiEngine_plaformVarsInputUserVars": "/tmp/ai_elements/ai_engine_version_user_vars.json",
    "aiEngine_plaformVarsInputModel": "/tmp/ai_elements/ai_model/",
    "aiEngine_plaformVarsInputModels": "/tmp/ai_elements/ai_models/",
    "aiEngine_plaformVarsOutputElements": "/tmp/output_elements/",
    "aiEngine_plaformVarsOutputModel": "/tmp/output_elements/ai_model/",
    "aiEngine_plaformVarsOutputEvaluationMetrics": "/tmp/output_elements/evaluation_metrics.json",
    "aiEngine_plaformVarsOutputInferenceResults": "/tmp/output_elements/generic_file/",
    "aiEngine_plaformVarsApiPingUrl": "/api/ping",
    "aiEngine_plaformVarsApiRunUrl": "/api/run",
    "aiEngine_plaformVarsApiEndUrl": "/api/end",
    "aiEngine_plaformVarsApiHost": "127.0.0.1:8001",
}
"""Numbers 1 to 28 of the table."""

ONE, TWO = PARTNERS[:2]
PATIENTS = {name: [f"{name} p", "p-2"] for name in (ONE, TWO)}
DATA = {
    "execution_dataPartner": ONE,
    "execution_dataPartnerDataPath": "/srv",
    "execution_dataPartnerPatients": {ONE: PATIENTS[ONE]},
}
FEDERATED_DATA = {
    "execution_dataPartnerPatients": PATIENTS,
    "execution_dataPartnerPatientsList": [{"data_partner": name, "data_path": "/srv"} for name in (ONE, TWO)],
    "execution_federatedConfigNumberIterations": "2",
    "execution_federatedConfigNumberDataPartners": "2",
}
ENGINE = {
    "execution_main-ai-engine-version": "4",
    "execution_main-ai-engine-container-name": "dummy",
    "execution_main-ai-engine-container-version": "dummy",
    "execution_main-ai-engine-container-version-max-iteration-time": "1200",
    "execution_main-ai-engine-container-version-memory-request": "3584Mi",
    "execution_main-ai-engine-container-version-cpu-request": "250m",
    "execution_main-ai-engine-container-version-memory-limit": "3584Mi",
    "execution_main-ai-engine-container-version-cpu-limit": "4000m",
}
MODEL = {
    "execution_main-ai-engine-ai-model": "9",
    "execution_main-ai-engine-ai-model-download-resume-retries": "4",
}
OUTPUT = {
    "execution_outputAIModelName": "m",
    "execution_outputAIModelDescription": "d",
    "execution_outputAIModelMergeType": "default",
}
HOSTS = ["execution_main-ai-engine-prm-api-host", "execution_main-ai-engine-plaform-vars-api-host"]
ADAPTER = "execution_communicationAdapterId"

TAKES_DATA = {"platform_data": True}
FEDERATED = {"platform_data": True, "federated_learning_configuration": True}


@pytest.fixture(scope="module")
def installation(
    postgres: Postgres, valkey: Valkey, light_kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("workflows")
    database = postgres.create_database(f"workflows_{uuid.uuid4().hex}")
    with Installation(folder, database, valkey.url, light_kafka) as installation, installation.runtime("runtime"):
        yield installation


def engine(descriptor: str = "main-ai-engine", model: bool = False) -> dict[str, Any]:
    does = "training_from_pretrained_model" if model else "training_from_scratch"
    return {"descriptor": descriptor, "role_type": "*", "functionalities": [does], "ai_model": model}


def placed(installation: Installation, template: bytes = TEMPLATE, **schema: Any) -> tuple[Any, Any]:
    """Start an execution; return it, and the workflow that Argo was sent."""
    started = installation.portal.execution(installation.schema(template, **schema))
    return started, installation.argo.workflows[installation.await_workflow(started)]


def parameters(workflow: Any) -> list[tuple[str, str]]:
    return [(each["name"], each["value"]) for each in workflow["spec"]["arguments"]["parameters"]]


def adapter(execution: Any) -> str:
    """K, of section 9."""
    created = str(datetime.fromisoformat(execution["created_at"]).astimezone(UTC))
    return f"{execution['id']}_-SEP-_{created.replace(' ', '_').replace('+', '_').replace(':', '-')}_-SEP-_"


@pytest.mark.parametrize(
    ("schema", "between", "count"),
    [
        ({"inputs": TAKES_DATA, "engines": [engine(model=True)]}, [DATA, ENGINE, MODEL], 44),
        ({"engines": [engine(model=True)]}, [ENGINE, MODEL], 41),
        (
            {"inputs": TAKES_DATA, "outputs": {"ai_model": True}, "engines": [engine(model=True)]},
            [DATA, ENGINE, MODEL, OUTPUT],
            47,
        ),
        ({"inputs": TAKES_DATA, "outputs": {"ai_model": True}}, [DATA, ENGINE, OUTPUT], 45),
        (
            {"inputs": FEDERATED, "outputs": {"ai_model": True}, "engines": [engine(model=True)]},
            [FEDERATED_DATA, ENGINE, MODEL, OUTPUT],
            49,
        ),
        ({"inputs": FEDERATED, "outputs": {"ai_model": True}}, [FEDERATED_DATA, ENGINE, OUTPUT], 47),
    ],
    ids=["evaluation", "inference", "training on", "training", "federated training on", "federated training"],
)
def test_the_parameters_are_those_of_the_table_in_its_order(
    installation: Installation, schema: dict[str, Any], between: list[dict[str, Any]], count: int
):
    execution, workflow = placed(installation, **schema)
    told = parameters(workflow)
    wanted: dict[str, Any] = {**SETTINGS, "execution_id": str(execution["id"])}
    for part in between:
        wanted |= part
    federated = FEDERATED_DATA in between
    last = [ADAPTER] if federated else []
    assert [name for name, _ in told] == [*wanted, *HOSTS, *last]
    assert len(told) == count
    values = dict(told)
    for name, value in wanted.items():
        assert values[name] == value if isinstance(value, str) else json.loads(values[name]) == value, name
    hosts, ports = zip(*(values[name].split(":") for name in HOSTS), strict=True)
    assert {*hosts} == {"127.0.0.1"}
    assert len({*ports}) == 2
    assert all(49152 <= int(port) <= 65535 for port in ports)
    assert values.get(ADAPTER) == (adapter(execution) if federated else None)


def test_the_hosts_of_all_engines_come_after_everything_else(installation: Installation):
    engines = [engine("b", model=True), engine("a")]
    _, workflow = placed(installation, engines=engines, outputs={"ai_model": True})
    names = [name for name, _ in parameters(workflow)][len(SETTINGS) + 1 :]
    of_engine = [name.replace("main-ai-engine", "b") for name in (*ENGINE, *MODEL)]
    of_engine += [name.replace("main-ai-engine", "a") for name in ENGINE]
    hosts = [name.replace("main-ai-engine", each) for each in "ba" for name in HOSTS]
    assert names == [*of_engine, *OUTPUT, *hosts]


def test_nothing_else_of_the_template_is_changed(installation: Installation):
    _, workflow = placed(installation)
    (asked,) = [
        each
        for each in installation.argo.created()
        if json.loads(each.body)["workflow"]["metadata"]["name"] == workflow["metadata"]["name"]
    ]
    assert asked.path == f"/api/v1/workflows/{NAMESPACE}"
    sent = json.loads(asked.body)
    assert list(sent) == ["workflow"]
    del sent["workflow"]["spec"]["arguments"]
    template = yaml.safe_load(TEMPLATE)
    assert sent["workflow"]["spec"] == template["spec"]
    assert {name: sent["workflow"][name] for name in ("apiVersion", "kind")} == {
        name: template[name] for name in ("apiVersion", "kind")
    }


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ("null", []),
        ("{}", []),
        ("{parameters: null}", []),
        (
            "{parameters: [{name: execution_id, value: theirs}, {name: epochs, value: '3'}]}",
            [("epochs", "3")],
        ),
    ],
)
def test_a_templates_own_parameters_follow_in_one_flat_list(
    installation: Installation, arguments: str, more: list[tuple[str, str]]
):
    template = TEMPLATE.replace(b"spec:\n", f"spec:\n  arguments: {arguments}\n".encode())
    execution, workflow = placed(installation, template)
    told = parameters(workflow)
    ours = [*SETTINGS, "execution_id", *ENGINE, *HOSTS]
    assert [name for name, _ in told] == [*ours, *(name for name, _ in more)]
    assert told[len(ours) :] == more
    assert dict(told)["execution_id"] == str(execution["id"])


def test_a_federated_run_has_its_topics_before_its_workflow_is_asked_for(installation: Installation, light_kafka: str):
    schema = installation.schema(inputs=FEDERATED)
    client = AdminClient({"bootstrap.servers": light_kafka, "log_level": 0})
    # Another may have made it in a way of its own, and it stays so then.
    client.delete_topics(["status"])
    wait_until(lambda: "status" not in installation.topics(), 60, "the topic to be removed")
    with installation.asked_for(lambda: installation.portal.execution(schema)) as execution:
        pair = [f"{adapter(execution)}_models_to_manager", f"{adapter(execution)}_models_to_clients"]
        assert installation.topics_of(execution) == {*pair}
        for name, compression in (("status", "uncompressed"), (pair[0], "gzip"), (pair[1], "gzip")):
            [answered] = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)]).values()
            given = {key: each.value for key, each in answered.result(20).items()}
            assert {*given["cleanup.policy"].split(",")} == {"compact", "delete"}, name
            assert given["compression.type"] == compression, name
            assert len(client.list_topics(timeout=20).topics[name].partitions) == 1, name
    installation.await_workflow(execution)
    # What is over is removed, and what all runs share is not.
    assert installation.portal.report(execution, "failed", {"message": "no"}).status_code == 200
    installation.sweep_topics()
    wait_until(lambda: not installation.topics_of(execution), 30, "the topics to be removed")
    assert "status" in installation.topics()
