from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.core.errors import InvalidAssetError
from orchestrator.engine.retries import (
    DEFAULT_ATTEMPTS,
    DEFAULT_POLICIES,
    FaultKind,
    RetryPolicies,
    RetryPolicy,
    check_metadata,
    kind_of,
    time_limit,
)

counts = st.integers(1, 1000)
seconds = st.floats(0.001, 1e8)
chances = st.floats(0, 1)
policies = st.builds(RetryPolicy, counts, seconds, seconds)
kinds = st.sampled_from(FaultKind)
ROUNDING = timedelta(microseconds=1)


def overrides(**values):
    """Metadata: `lost_attempts="2"`, `backoff="1"`."""
    return {f"orchestrator.retry.{name.replace('_', '.')}": value for name, value in values.items()}


@given(policies, st.integers(1, 2000))
def test_there_are_as_many_attempts_as_the_policy_says(policy, faults):
    assert (policy.pause(faults) is None) == (faults >= policy.attempts)


@given(policies, st.integers(1, 2000))
def test_a_pause_is_between_half_and_all_of_what_is_due(policy, faults):
    pause = policy.pause(faults)
    if pause is not None:
        assert pause >= timedelta(seconds=min(policy.cap, policy.backoff)) / 2 - ROUNDING
        assert pause <= timedelta(seconds=policy.cap) + ROUNDING
        if faults < 20:
            due = timedelta(seconds=min(policy.cap, policy.backoff * 2 ** (faults - 1)))
            assert due / 2 - ROUNDING <= pause <= due + ROUNDING


@given(seconds, seconds, chances)
def test_pauses_grow_up_to_the_cap_and_stay_there(backoff, cap, chance):
    policy = RetryPolicy(1000, backoff, cap)
    pauses = [policy.pause(faults, chance) for faults in range(1, 1000)]
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[-1] <= timedelta(seconds=cap)
    if backoff <= cap <= backoff * 2**30:
        assert pauses[-1] == timedelta(seconds=cap * (0.5 + chance / 2))


def test_a_pause_doubles_with_each_fault():
    policy = RetryPolicy(6, 5.0, 60.0)
    assert [policy.pause(faults, 1.0) for faults in range(1, 7)] == [
        *(timedelta(seconds=s) for s in (5, 10, 20, 40, 60)),
        None,
    ]
    assert policy.pause(1, 0.0) == timedelta(seconds=2.5)


def test_tasks_that_failed_together_come_back_one_by_one():
    policy = RetryPolicy(3, 5.0, 300.0)
    assert len({policy.pause(1) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pb.ERROR_TYPE_BUILD, FaultKind.BUILD),
        (pb.ERROR_TYPE_EXECUTION, FaultKind.EXECUTION),
        (pb.ERROR_TYPE_INTERNAL, FaultKind.INTERNAL),
    ],
)
def test_the_kind_of_a_fault_is_its_error_type_unless_the_time_was_over(error, kind):
    assert kind_of(error, timed_out=False) == kind
    assert kind_of(error, timed_out=True) == FaultKind.TIMEOUT


def test_by_default_only_faults_that_are_not_the_functions_are_tried_again():
    retried = {kind for kind in FaultKind if DEFAULT_POLICIES.of(kind).attempts > 1}
    assert retried == {FaultKind.INTERNAL, FaultKind.LOST}
    assert set(DEFAULT_ATTEMPTS) == set(FaultKind)


@given(kinds)
def test_without_metadata_the_settings_hold(kind):
    base = RetryPolicies({kind: RetryPolicy(2, 3.0, 4.0)})
    assert base.of(kind) == base.of(kind, {}, {"other": "thing"}) == RetryPolicy(2, 3.0, 4.0)


@given(kinds, counts, counts)
def test_the_task_goes_before_the_plan_and_the_plan_before_the_settings(kind, of_task, of_plan):
    base = RetryPolicies({kind: RetryPolicy(2, 3.0, 4.0)})
    task = overrides(**{f"{kind}_attempts": str(of_task)})
    plan = overrides(**{f"{kind}_attempts": str(of_plan)}, backoff="7.5")
    assert base.of(kind, task, plan) == RetryPolicy(of_task, 7.5, 4.0)
    assert base.of(kind, {}, plan) == RetryPolicy(of_plan, 7.5, 4.0)
    assert base.of(kind, task, {}) == RetryPolicy(of_task, 3.0, 4.0)
    assert base.of(kind, overrides(cap="1"), plan) == RetryPolicy(of_plan, 7.5, 1.0)


def test_the_attempts_of_one_kind_say_nothing_of_another():
    default = DEFAULT_POLICIES
    assert default.of(FaultKind.BUILD, overrides(lost_attempts="9")) == default.of(FaultKind.BUILD)


@given(kinds, counts, seconds, seconds)
def test_what_is_valid_passes_the_check_and_is_read(kind, attempts, backoff, cap):
    metadata = overrides(**{f"{kind}_attempts": str(attempts)}, backoff=str(backoff), cap=str(cap))
    check_metadata(metadata)
    assert DEFAULT_POLICIES.of(kind, metadata) == RetryPolicy(attempts, backoff, cap)


def test_other_metadata_are_anybodys():
    check_metadata(
        {"orchestrator": "x", "name": "orchestrator.retry", "Orchestrator.retry": "", "orchestrator.mine": "x", "": ""}
    )


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "1001", "many", "²", "1 ", "+1", "1_0", "9" * 100])
def test_a_wrong_number_of_attempts_is_refused(value):
    with pytest.raises(InvalidAssetError) as caught:
        check_metadata(overrides(lost_attempts=value))
    assert caught.value.code == "OE0101"
    assert "'orchestrator.retry.lost.attempts': a whole number from 1 to 1000 is expected" in str(caught.value)


@pytest.mark.parametrize(
    "key", ["orchestrator.retry.backoff", "orchestrator.retry.cap", "orchestrator.time_limit"], ids=str
)
@pytest.mark.parametrize(
    "value", ["", "0", "0.0001", "-1", "nan", "inf", "-inf", "1e9", "5s", "soon", "1,5", " 5", "1_0", "\u0665"]
)
def test_a_wrong_number_of_seconds_is_refused(key, value):
    with pytest.raises(InvalidAssetError) as caught:
        check_metadata({key: value})
    assert caught.value.code == "OE0101"
    assert f"{key!r}: a number of seconds from 0.001 to 100000000 is expected" in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "orchestrator.retry.",
        "orchestrator.retry.losst.attempts",
        "orchestrator.retry.attempts",
        "orchestrator.retry.lost",
        "orchestrator.retry.lost.backoff",
    ],
)
def test_a_key_that_is_not_known_is_refused_with_those_that_are(key):
    with pytest.raises(InvalidAssetError) as caught:
        check_metadata({key: "1"})
    assert caught.value.code == "OE0101"
    assert repr(key) in str(caught.value)
    assert "orchestrator.retry.lost.attempts" in str(caught.value)
    assert "orchestrator.time_limit" in str(caught.value)


@given(seconds)
def test_a_time_limit_is_read(limit):
    metadata = {"orchestrator.time_limit": str(limit)}
    check_metadata(metadata)
    assert time_limit(metadata) == timedelta(seconds=limit)
    assert time_limit({}) is None


def test_every_key_of_the_docs_fits_into_metadata():
    assert all(len(f"orchestrator.retry.{kind}.attempts") <= 100 for kind in FaultKind)
