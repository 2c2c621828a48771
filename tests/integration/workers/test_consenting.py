"""What a worker does with a task that its consent policy does not cover, and when an orchestrator lies to it."""

import uuid
from collections.abc import Iterator

import grpc
import pytest

from orchestrator import protos as pb
from tests.kit.waiting import wait_until
from tests.kit.world import STORE_URL, TRAINS, World
from workers.assets.access import Access
from workers.channels import Channels, connect
from workers.consent.decisions import Kind, decide
from workers.consent.declines import Asking
from workers.consent.policy import Consent


def foreign(world: World) -> pb.Function:
    """A function and a task of org-2, at org-1."""
    function = world.function(TRAINS)
    function.owner = "org-2"
    world.claim(function).task.owner = "org-2"
    return function


def test_what_is_not_covered_is_neither_claimed_nor_fetched(world: World) -> None:
    function = foreign(world)
    world.run()
    assert not world.claimed
    assert not world.recorded.claiming.is_set()
    (declined,) = world.recorded.declined
    assert (declined.compute_task_key, declined.function, declined.plan) == (world.task, True, True)
    assert declined.reason.startswith(f"org-1 has not approved function {function.name} of org-2")
    assert not world.recorded.failed


def test_what_is_covered_runs(world: World) -> None:
    # With a function of one's own: no store of org-2 serves one here, as it does in the attacks.
    world.claim(world.function(TRAINS)).task.owner = "org-2"
    decide(world.settings.decisions_file, Kind.ORGANIZATIONS, "org-2", approved=True)
    world.run()
    assert world.recorded.completed
    assert not world.recorded.declined


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("function", lambda claim: claim.function.MergeFrom(pb.Function(key="00000000-0000-4000-8000-000000000000"))),
        ("archive", lambda claim: setattr(claim.function.archive, "checksum", "0" * 64)),
        ("owner", lambda claim: setattr(claim.function, "owner", "org-2")),
        ("plan", lambda claim: setattr(claim.task, "compute_plan_key", "00000000-0000-4000-8000-000000000000")),
        ("plan's owner", lambda claim: setattr(claim.task, "owner", "org-2")),
    ],
)
def test_a_claim_that_hands_over_something_else_is_given_back(world: World, what: str, change: object) -> None:
    claim = world.claim(world.function(TRAINS))
    asked = pb.ComputeTask()
    asked.CopyFrom(claim.task)
    world.recorded.tasks[world.task] = asked
    was = pb.Function()
    was.CopyFrom(claim.function)
    world.recorded.functions[was.key] = was
    change(claim)
    world.run()
    assert [released.attempt.token for released in world.recorded.released] == ["token"], what
    assert len(world.recorded.declined) == 1
    assert not world.recorded.completed
    assert not world.recorded.failed


class Claimant:
    """One process of a worker, before whose second claim something changes."""

    def __init__(self, world: World, channels: Channels) -> None:
        self.asking = Asking(channels, Consent.of(world.settings))
        self._world = world

    def claim(self) -> tuple[pb.ClaimTaskResponse, bool] | None:
        """Claim the task; return what was handed over, and whether it is held; None where it is declined."""
        param = pb.ClaimTaskParam(compute_task_key=self._world.task, attempt=2, claim_id="claim")
        found = self.asking.claim(param, lambda call: call())
        if found is None:
            return None
        client, asked, claim = found
        return claim, self.asking.holds(client, asked, claim)


@pytest.fixture
def claimant(world: World) -> Iterator[Claimant]:
    """One whose first claim, of a function of org-2 in a plan of org-2, was asked about."""
    world.recorded.agreed = []
    foreign(world)
    decide(world.settings.decisions_file, Kind.ORGANIZATIONS, "org-2", approved=True)
    with connect(world.settings) as channels:
        claimant = Claimant(world, channels)
        claimed = claimant.claim()
        assert claimed is not None
        assert claimed[1], "it is held"
        assert world.recorded.agreed == [[]]
        yield claimant


def test_what_was_consented_to_before_is_claimed_unasked(world: World, claimant: Claimant) -> None:
    claim = world.recorded.claims[world.task]
    world.recorded.tasks[world.task].compute_plan_key = claim.task.compute_plan_key = str(uuid.uuid4())
    world.recorded.functions.clear()  # nobody asks for it
    assert claimant.claim() == (claim, True)
    assert world.recorded.agreed == [[], [(claim.function.key, "org-2")]]
    assert not world.recorded.released


def test_what_is_consented_to_no_more_is_asked_about_again(world: World, claimant: Claimant) -> None:
    decide(world.settings.decisions_file, Kind.ORGANIZATIONS, "org-2", approved=False)
    world.recorded.claiming.clear()
    assert claimant.claim() is None
    assert world.recorded.agreed == [[], []]
    assert not world.recorded.claiming.is_set()
    assert len(world.recorded.declined) == 1


def test_a_plan_that_was_refused_is_not_claimed_because_its_owner_is_known(world: World, claimant: Claimant) -> None:
    plan = world.recorded.tasks[world.task].compute_plan_key = str(uuid.uuid4())
    decide(world.settings.decisions_file, Kind.PLANS, plan, approved=False)
    world.recorded.claiming.clear()
    assert claimant.claim() is None
    assert not world.recorded.claiming.is_set()


def test_a_lie_about_what_was_agreed_is_given_back(world: World, claimant: Claimant) -> None:
    claim = world.recorded.claims[world.task]
    asked = pb.ComputeTask()
    asked.CopyFrom(claim.task)
    world.recorded.tasks[world.task] = asked
    for change in (
        lambda: setattr(claim.function.archive, "checksum", "0" * 64),
        lambda: setattr(claim.function, "key", str(uuid.uuid4())),
        lambda: setattr(claim.task, "owner", "org-3"),
    ):
        change()
        assert claimant.claim() == (claim, False)
    assert len(world.recorded.released) == 3


def test_a_closed_channel_stops_itself_only(world: World) -> None:
    world.recorded.closed.add("other")
    function = world.function("time.sleep(1)\n" + TRAINS)
    world.claim(function)
    world.build(function.key)
    assert function.status == pb.FUNCTION_STATUS_READY
    world.run()
    assert world.recorded.completed
    beats = [beat for _, beat in world.recorded.heartbeats if beat.attempts]
    assert len(beats) > 1, "its lease of 0.3 s was renewed"
    function.permissions.process.authorized_ids.append("org-2")
    with connect(world.settings) as channels:
        store = Access(channels, "org-1", STORE_URL)
        store.check(f"functions/{function.key}/archive", frozenset({"org-2"}))
        with pytest.raises(grpc.RpcError) as caught:
            store.check(f"functions/{uuid.uuid4()}/archive", frozenset({"org-2"}))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_agent_decides_again_when_the_policy_or_the_decisions_change(world: World) -> None:
    policy = world.root / "consent.yaml"
    policy.write_text("organizations: []\n")
    world.settings.consent_policy = policy
    function = foreign(world)
    world.run()
    (said,) = world.recorded.declined
    world.recorded.declines.append(
        pb.Decline(
            compute_task_key=world.task,
            plan_owner="org-2",
            function_owner="org-2",
            function_checksum=function.archive.checksum.upper(),
            reason=said.reason,
            function=True,
            plan=True,
        )
    )
    with world.agent():
        policy.write_text("organizations: [org-2]\nfunctions: approved\n")
        wait_until(lambda: len(world.recorded.declined) == 2, 60, "the reason to be told anew")
        assert world.recorded.declined[1].reason == "org-1 has not approved function  of org-2"
        assert not world.recorded.reconsidered
        decide(world.settings.decisions_file, Kind.FUNCTIONS, function.archive.checksum, approved=True)
        wait_until(lambda: world.recorded.reconsidered, 60, "the task to be reconsidered")
    assert set(world.recorded.reconsidered) == {world.task}
