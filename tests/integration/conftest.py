"""Networks in a database of the test's own, where a folder or a module has no other."""

import pytest

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database
from tests.integration.counted import Counted
from tests.kit.member import Member
from tests.kit.messages import new_function, new_key, new_plan


@pytest.fixture
def network(database: Database) -> Member:
    return Member(database)


@pytest.fixture
def stranger(database: Database, network: Member) -> Member:
    """Another organization of the channel."""
    return Member(database, "org-2")


@pytest.fixture
def org(database: Database) -> Counted:
    """An organization in a channel of its own."""
    org = Counted(database, f"channel-{new_key()}")
    org.send(pb.RegisterOrganizationParam())
    return org


@pytest.fixture
def function(org: Counted) -> pb.Function:
    """A READY function of any number of models to one model."""
    function = org.send(new_function())
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
        org.send(pb.ApplyFunctionActionParam(function_key=function.key, action=action))
    return org.send(pb.GetFunctionParam(key=function.key))


@pytest.fixture
def plan(org: Counted) -> pb.ComputePlan:
    return org.send(new_plan())
