"""What an editor knows of the SDK: its names, and the mistakes that a type checker finds before a plan is sent."""

import re

import pytest
from mypy import api

import orchestrator.client

NAMES = {
    "PUBLIC",
    "AsyncClient",
    "BuildError",
    "CallError",
    "Certificates",
    "Check",
    "Client",
    "Continuation",
    "Continuations",
    "Event",
    "Explanation",
    "FolderError",
    "Output",
    "Plan",
    "PlanError",
    "Progress",
    "Score",
    "Scores",
    "StoreError",
    "Task",
    "Watch",
}
HEAD = """
from orchestrator.client import AsyncClient, Client
from orchestrator import protos as pb

client: Client
asynchronous: AsyncClient
plan = client.plan("a plan")
trained = plan.train(function="f", data_manager="m", data_samples=["s"], shared=None)
"""
RIGHT = """
plan.aggregate(function="f", models=[trained], worker="hub")
plan.test(function="f", data_manager="m", data_samples=["s"], model=trained)
print(plan.check().faults, client.check(plan).ok)
plan.submit()
print(plan.scores().csv())
for event in client.watch(plan.retry(replacements={"f": pb.Function()})):
    print(event, client.rerun("key", name="again").reused)
for event in client.watch(plan):
    print(event)


async def run() -> None:
    later = asynchronous.plan("another")
    print((await later.check()).waits)
    await later.submit()
    print((await later.retry(name="again")).key, (await asynchronous.continuations(later)).continued_by)
    print((await later.scores()).csv())
"""
WRONG = {
    'plan.train(function="f", data_samples=["s"])': "call-arg",
    'plan.train(function=1, data_manager="m", data_samples=["s"])': "arg-type",
    'plan.aggregate(function="f", models=[1], worker="hub")': "list-item",
    'plan.aggregate(function="f", models=[trained], worker=["hub"])': "arg-type",
    "plan.submit(batch='all')": "arg-type",
    "trained.weights": "attr-defined",
    'client.plan(tag="no name")': "call-arg",
    'client.tasks.GetTask(pb.GetComputePlanParam(key="k"))': "arg-type",
}
"""A line -> the code of the error that mypy finds in it."""


def test_the_names_that_are_exported():
    assert set(orchestrator.client.__all__) == NAMES
    assert all(getattr(orchestrator.client, name).__doc__ for name in NAMES - {"PUBLIC"})


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The lines of a program that mypy finds an error in, each with its code: some use it rightly, some wrongly."""
    program = HEAD + RIGHT + "\n".join(WRONG) + "\n"
    file = tmp_path_factory.mktemp("types") / "program.py"
    file.write_text(program)
    cache = str(file.with_name("cache"))
    told, broken, _ = api.run(["--strict", "--no-error-summary", "--cache-dir", cache, str(file)])
    assert not broken
    found = re.findall(r"^.*?:(\d+): error: .*\[([a-z-]+)\]$", told, re.MULTILINE)
    lines = program.splitlines()
    return {lines[int(number) - 1]: code for number, code in found}


def test_what_is_right_passes(errors: dict[str, str]):
    assert set(errors) <= set(WRONG)


@pytest.mark.parametrize(("line", "code"), WRONG.items(), ids=WRONG)
def test_a_mistake_is_found(errors: dict[str, str], line: str, code: str):
    assert errors.get(line) == code
