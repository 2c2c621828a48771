"""Secrets are nowhere but in what is handed to a module (section 2.2 of the contract)."""

import json

import pytest
from cryptography.fernet import Fernet

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError
from orchestrator.problems import configuration
from tests.kit.deployment import APP, CONSTRAINTS, METADATA, MODEL, RESOURCES, Deployment, told_by

TOKEN = 'hf_s3cret/with\\"marks'
KEY = Fernet.generate_key().decode()


def kept(deployment: Deployment) -> str:
    """All that the tables hold, as text."""
    found = ""
    tables = [row.tablename for row in deployment.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert {"iterations", "stages", "stage_outputs", "events", "configuration_requests", "tasks"} <= {*tables}
    for table in tables:
        for row in deployment.rows(f"SELECT * FROM {table}"):
            found += " ".join(
                bytes(each).decode(errors="replace") if isinstance(each, bytes) else str(each) for each in row
            )
    return found


def token_in(extra_data: bytes) -> object:
    return json.loads(extra_data)["hf_token"]


def test_a_users_own_token(deployment: Deployment):
    with told_by(PROBLEMS_SECRET_KEY=KEY):
        modules = deployment.modules()
        submitted = deployment.submit({"hf_token": TOKEN, "num_outputs": 1}, problem_definition=f"use {TOKEN}")
        assert token_in(submitted.user_input.extra_data) == "***hf_token***"
        claimed = modules[CONSTRAINTS].take()
        assert claimed is not None
        (user_input,) = modules[CONSTRAINTS].inputs(claimed.attempt)
        assert token_in(user_input.extra_data) == TOKEN
        # A module copies it on.
        modules[CONSTRAINTS].complete(claimed.attempt, pb.HWConstraints(extra_data=user_input.extra_data))
        asked = deployment.ask(configuration.ask, CONSTRAINTS, "which token?")
        said = json.dumps({"hub": f"asked with {TOKEN}"})
        modules[CONSTRAINTS].report()
        modules[CONSTRAINTS].report(answers=[pb.ConfigurationAnswer(transaction_id=asked, configuration=said)])
        answered = deployment.ask(configuration.answer_of, asked)
        assert json.loads(answered.configuration) == {"hub": "asked with ***hf_token***"}
        modules[APP].run(pb.AppRequirements(app_requirements=[f"with {TOKEN}"]))
        modules[METADATA].run()
        modules[MODEL].run(pb.MLModel(model=TOKEN, extra_data=json.dumps({"deep": [{"hf_token": "another"}]}).encode()))
        claimed = modules[RESOURCES].take()
        assert claimed is not None
        _, app, constraints = modules[RESOURCES].inputs(claimed.attempt)
        assert token_in(constraints.extra_data) == TOKEN
        assert list(app.app_requirements) == [f"with {TOKEN}"]
        modules[RESOURCES].fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, f"ValueError: {TOKEN}")
        assert deployment.get(submitted.task_id).error.message == "ValueError: ***hf_token***"
        assert "s3cret" not in kept(deployment)
        assert "another" not in kept(deployment)
        assert deployment.rows("SELECT secrets FROM iterations")[0].secrets is None


def test_the_operators_token(deployment: Deployment):
    with told_by(HF_TOKEN="of-the-operator"):
        modules = deployment.modules()
        task_id = deployment.submit().task_id
        claimed = modules[CONSTRAINTS].take()
        assert claimed is not None
        assert token_in(modules[CONSTRAINTS].inputs(claimed.attempt)[0].extra_data) == "of-the-operator"
        assert token_in(deployment.get(task_id).user_input.extra_data) == "***hf_token***"
        id_ = deployment.ask(configuration.ask, APP, "what")
        (request,) = modules[APP].report().requests
        said = pb.ConfigurationAnswer(transaction_id=request.transaction_id, configuration='{"t": "of-the-operator"}')
        modules[APP].report(answers=[said])
        assert deployment.ask(configuration.answer_of, id_).configuration == '{"t": "***hf_token***"}'
        assert "of-the-operator" not in kept(deployment)


def test_a_users_own_token_beside_the_operators(deployment: Deployment):
    # Each is the beginning of the other's whole, and both are called hf_token.
    own, operators = "hf_s3cret-of-a-user", "hf_s3cret"
    with told_by(PROBLEMS_SECRET_KEY=KEY, HF_TOKEN=operators):
        modules = deployment.modules()
        task_id = deployment.submit({"hf_token": own}, problem_definition=f"{own}, {operators}").task_id
        claimed = modules[CONSTRAINTS].take()
        assert claimed is not None
        assert token_in(modules[CONSTRAINTS].inputs(claimed.attempt)[0].extra_data) == own
        said = pb.HWConstraints(hardware_required=[own, operators], extra_data=json.dumps([own, operators]).encode())
        modules[CONSTRAINTS].complete(claimed.attempt, said)
        # What an output says of itself is a warning.
        modules[METADATA].run(pb.MLModelMetadata(extra_data=json.dumps({"error": f"401 for {own}"}).encode()))
        assert deployment.get(task_id).stages[METADATA].warning == "401 for ***hf_token***"
        claimed = modules[APP].take()
        assert claimed is not None
        modules[APP].fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, f"ValueError: {own}, {operators}")
        assert deployment.get(task_id).error.message == "ValueError: ***hf_token***, ***hf_token***"
        for word in (operators, "of-a-user"):
            assert word not in kept(deployment)


def test_what_was_shown_comes_back(deployment: Deployment):
    with told_by(PROBLEMS_SECRET_KEY=KEY):
        modules = deployment.modules()
        first = deployment.submit({"hf_token": TOKEN})
        shown = json.loads(first.user_input.extra_data)
        deployment.iterate(first.task_id, shown)
        deployment.iterate(first.task_id)
        deployment.iterate(first.task_id, {"hf_token": None})
        tokens = []
        while claimed := modules[APP].take():
            tokens.append(token_in(modules[APP].inputs(claimed.attempt)[0].extra_data))
            modules[APP].complete(claimed.attempt)
        assert tokens == [TOKEN, TOKEN, TOKEN, None]


def test_a_chain_keeps_the_token(deployment: Deployment):
    with told_by(PROBLEMS_SECRET_KEY=KEY):
        modules = deployment.modules()
        first = deployment.submit({"hf_token": TOKEN, "num_outputs": 2}).task_id
        for kind in (APP, CONSTRAINTS, METADATA, MODEL, RESOURCES):
            modules[kind].run()
        modules[1].run(pb.CO2Footprint(extra_data=b'{"num_outputs": 2, "model_restrains": []}'))
        assert deployment.state(first) == "SUCCEEDED"
        claimed = modules[APP].take()
        assert claimed is not None
        assert token_in(modules[APP].inputs(claimed.attempt)[0].extra_data) == TOKEN


def test_without_a_key_a_token_is_refused(deployment: Deployment):
    with told_by(), pytest.raises(BadRequestError, match="ORCHESTRATOR_PROBLEMS_SECRET_KEY"):
        deployment.submit({"hf_token": TOKEN})
    assert deployment.submit({"hf_token": None}).task_id.problem_id == 1
