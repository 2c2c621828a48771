from collections.abc import Iterator

import pytest

from orchestrator import protos as pb
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.postgres import Postgres
from tests.kit.messages import new_plan

from .served import HERE, THERE, Served, running


@pytest.fixture(scope="session")
def served(certificates: Layout, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tmp_path_factory.mktemp("api"), certificates, postgres) as served:
        yield served


def registered(served: Served, channel: str) -> str:
    with served.client("org-1", channel) as client:
        client.register(pb.RegisterOrganizationParam())
        return client.plans.RegisterPlan(new_plan()).key


@pytest.fixture(scope="session")
def plan(served: Served) -> str:
    """The path of a compute plan in the channel that is open to org-1 and org-2."""
    return f"/v1/plans/{registered(served, HERE)}"


@pytest.fixture(scope="session")
def plan_there(served: Served) -> str:
    """The path of a compute plan in the channel that is open to org-1 alone."""
    return f"/v1/plans/{registered(served, THERE)}"
