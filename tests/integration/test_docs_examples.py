"""Every Python block of the docs runs against a real server: each page in a channel of its own, from top to bottom."""

import hashlib
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from orchestrator import protos as pb
from orchestrator.client import CallError, Client
from orchestrator.embedded.postgres import Postgres
from tests.kit.pages import blocks_of, run
from tests.kit.servers import serving
from tests.kit.transports import METHODS

DOCS = Path(__file__).parents[2] / "docs"
INDEX = "the index"
"""A channel of no page."""
SERVICES = sorted({method.containing_service.full_name for method in METHODS})

OPENER = pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER)
SAMPLES = pb.FunctionInput(kind=pb.ASSET_DATA_SAMPLE, multiple=True)
MODEL = pb.FunctionOutput(kind=pb.ASSET_MODEL)
SCORE = pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE)
DATA = {"opener": OPENER, "datasamples": SAMPLES}


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


EXCERPTS = {"extending/kind", "assets", "modules", "sdk", "substra"}
"""Pages that other tests hold to what they show: `test_extending.py`, `acceptance/test_examples.py`, and some in
`client/` and `modules/`."""

PAGES = {
    name_of(page): page for page in sorted(DOCS.rglob("*.md")) if blocks_of(page) and name_of(page) not in EXCERPTS
}


@pytest.fixture(scope="module")
def served(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    channels = {name: ["org-1", "org-2", "org-3"] for name in (*PAGES, INDEX)}
    database = postgres.create_database(f"docs_{uuid.uuid4().hex}")
    with serving(tmp_path_factory.mktemp("docs"), database, channels) as address:
        yield address


def new_key() -> str:
    return str(uuid.uuid4())


def stored(name: str) -> pb.Addressable:
    checksum = hashlib.sha256(name.encode()).hexdigest()
    return pb.Addressable(checksum=checksum, storage_address=f"https://store.org-1.example/{name}")


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert CallError.of(caught.value).oe_code == code, caught.value


def ready(
    client: Client, name: str, inputs: dict[str, pb.FunctionInput], outputs: dict[str, pb.FunctionOutput]
) -> pb.Function:
    key = new_key()
    client.functions.RegisterFunction(
        pb.NewFunction(
            key=key,
            name=name,
            description=stored(f"{name}.md"),
            archive=stored(f"{name}.tar.gz"),
            new_permissions=pb.NewPermissions(public=True),
            inputs=inputs,
            outputs=outputs,
        )
    )
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
        client.functions.ApplyFunctionAction(pb.ApplyFunctionActionParam(function_key=key, action=action))
    return client.functions.GetFunction(pb.GetFunctionParam(key=key))


def registered_data(client: Client) -> tuple[str, list[str]]:
    manager = pb.NewDataManager(
        key=new_key(),
        name="Tumours of org-1",
        description=stored("description.md"),
        opener=stored("opener.py"),
        new_permissions=pb.NewPermissions(authorized_ids=["org-2"]),
        logs_permission=pb.NewPermissions(),
    )
    client.data_managers.RegisterDataManager(manager)
    samples = [
        pb.NewDataSample(key=new_key(), data_manager_keys=[manager.key], checksum=stored(str(number)).checksum)
        for number in range(2)
    ]
    client.data_samples.RegisterDataSamples(pb.RegisterDataSamplesParam(samples=samples))
    return manager.key, [sample.key for sample in samples]


@contextmanager
def names(address: str, channel: str) -> Iterator[dict[str, Any]]:
    """What docs/services/README.md promises to every page."""
    with Client(address, "org-1", channel) as client, Client(address, "org-2", channel) as other:
        for organization in (client, other):
            organization.organizations.RegisterOrganization(pb.RegisterOrganizationParam())
        manager, samples = registered_data(client)
        optional = pb.FunctionInput(kind=pb.ASSET_MODEL, optional=True)
        several = pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)
        one = pb.FunctionInput(kind=pb.ASSET_MODEL)
        yield {
            "pb": pb,
            "Client": Client,
            "CallError": CallError,
            "address": address,
            "channel": channel,
            "client": client,
            "other": other,
            "manager": manager,
            "samples": samples,
            "train": ready(client, "train", {**DATA, "shared": optional}, {"model": MODEL}),
            "average": ready(client, "average", {"models": several}, {"model": MODEL}),
            "test": ready(client, "test", {**DATA, "model": one}, {"accuracy": SCORE, "auc": SCORE}),
            "new_key": new_key,
            "stored": stored,
            "refused": refused,
        }


@pytest.mark.parametrize("name", PAGES)
def test_the_examples_of_a_page_do_what_they_say(name: str, served: str):
    with names(served, name) as namespace:
        run(PAGES[name], namespace)


def test_the_index_tells_the_names_that_examples_begin_with(served: str):
    table = (DOCS / "services" / "README.md").read_text().rpartition("## The examples")[2]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)", row)}
    with names(served, INDEX) as namespace:
        assert told == set(namespace)


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ("assert stored('a') == stored('b')", 4),
        ("def check():\n    assert client.organization == 'org-2'\n\ncheck()", 5),
        ("with refused('OE0002'):\n    client.info.QueryVersion(pb.QueryVersionParam())", 4),
        ("client.plans.GetPlan(pb.GetComputePlanParam(key='none'))", 4),
        ("client.", 4),
    ],
)
def test_a_block_that_fails_names_page_and_line(served: str, tmp_path: Path, block: str, line: int):
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```python\n{block}\n```\n")
    with (
        Client(served, "org-1", INDEX) as client,
        pytest.raises(AssertionError, match=rf"page\.md:{line}: "),
    ):
        run(page, {"client": client, "stored": stored, "refused": refused, "pb": pb})


def test_the_contract_has_13_services_and_40_methods():
    assert (len(SERVICES), len(METHODS)) == (13, 40)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_page_with_all_its_methods_and_an_example(service: str):
    methods = [method for method in METHODS if method.containing_service.full_name == service]
    # A page is named like the file that defines its service.
    page = DOCS / "services" / f"{Path(methods[0].containing_service.file.name).stem}.md"
    text = page.read_text()
    assert text.startswith(f"# {methods[0].containing_service.name}\n")
    in_table = set(re.findall(r"^\| `([A-Z][a-z]\w+)` \|", text, re.MULTILINE))
    assert in_table == {method.name for method in methods}
    assert blocks_of(page)
    index = (DOCS / "services" / "README.md").read_text()
    assert f"]({page.name})" in index
