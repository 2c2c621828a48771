"""The consent policy: what it reads, and whom it lets in."""

import os
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from orchestrator.core.documents import DocumentError
from tests.kit.waiting import wait_until
from workers.consent.decisions import Decisions, Kind, Names, decide
from workers.consent.policy import Asked, Consent, ConsentPolicy, Functions, judge

OWN = "hospital-2"
A, B = "a" * 64, "b" * 64
PLAN, OTHER_PLAN = "1f0c1f0c-0000-4000-8000-000000000001", "1f0c1f0c-0000-4000-8000-000000000002"
ORGANIZATIONS = (OWN, "aggregator", "stranger")

organizations = st.frozensets(st.sampled_from(ORGANIZATIONS))
names = st.builds(
    Names, st.frozensets(st.sampled_from([A, B])), st.frozensets(st.sampled_from([PLAN, OTHER_PLAN])), organizations
)
decisions = st.builds(Decisions, names, names)
policies = st.builds(ConsentPolicy, organizations, st.sampled_from(Functions))
owner = st.sampled_from(ORGANIZATIONS)
asked_of = st.builds(
    Asked, st.just("key"), owner, st.sampled_from([A, B]), st.sampled_from([PLAN, OTHER_PLAN]), owner, st.just("train")
)


def asked(**changes: str) -> Asked:
    given = {"function": "key", "function_owner": "aggregator", "checksum": A, "plan": PLAN, "plan_owner": "aggregator"}
    return Asked(**{**given, "name": "train", **changes})


@given(policies, asked_of)
def test_ones_own_always_runs_unless_it_was_refused(policy, asked):
    own = Asked("key", OWN, asked.checksum, asked.plan, OWN, "train")
    assert judge(OWN, policy, Decisions(), own) is None
    refused = Decisions(refused=Names(functions=frozenset({own.checksum})))
    assert judge(OWN, policy, refused, own).refused


@given(policies, decisions, asked_of)
def test_a_refusal_wins(policy, decided, asked):
    found = judge(OWN, policy, decided, asked)
    refused = decided.refused
    if (
        asked.checksum in refused.functions
        or asked.plan in refused.plans
        or {asked.function_owner, asked.plan_owner} & refused.organizations
    ):
        assert found is not None
        assert found.refused


@given(asked_of)
def test_the_default_admits_nothing_of_others(asked):
    found = judge(OWN, ConsentPolicy(), Decisions(), asked)
    others = (asked.function_owner != OWN, asked.plan_owner != OWN)
    assert (found is None) == (not any(others))
    if found:
        assert (found.function, found.plan, found.refused) == (*others, False)


@given(policies, decisions, asked_of, st.sampled_from(["functions", "plans", "organizations"]))
def test_one_more_approval_lets_in_no_less_and_function_and_plan_are_apart(policy, decided, asked, kind):
    name = {"functions": asked.checksum, "plans": asked.plan, "organizations": asked.plan_owner}[kind]
    before = judge(OWN, policy, decided, asked)
    approved = Decisions(decided.approved.having(Kind(kind), name, there=True), decided.refused)
    after = judge(OWN, policy, approved, asked)
    if before is None:
        assert after is None
    if kind == "plans" and before and before.function:
        assert after.function, "an approved compute plan approves no function"
    if kind == "functions" and before and before.plan:
        assert after.plan, "an approved function approves no compute plan"


@given(policies, decisions, asked_of)
def test_a_function_that_is_approved_is_its_archive(policy, decided, asked):
    """With `approved` only the checksum lets a foreign function in, and neither its key nor its name."""
    strict = ConsentPolicy(policy.organizations, Functions.APPROVED)
    found = judge(OWN, strict, decided, asked)
    if found is None:
        assert asked.function_owner == OWN or asked.checksum in decided.approved.functions


def test_the_reason_names_who_did_not_approve_what():
    found = judge(OWN, ConsentPolicy(frozenset({"aggregator"}), Functions.APPROVED), Decisions(), asked())
    assert found.reason == "hospital-2 has not approved function train of aggregator"
    found = judge(OWN, ConsentPolicy(), Decisions(refused=Names(plans=frozenset({PLAN}))), asked(function_owner=OWN))
    assert found.reason == f"hospital-2 has refused compute plan {PLAN} of aggregator"


def test_a_policy_says_who_runs_here():
    text = """
    organizations: [aggregator, hospital-1]
    functions: approved
    stores:
      aggregator: https://store.aggregator.org/assets/
    network: [aggregator]
    sources: [hospital-1]
    indexes: ["https://packages.example.org/simple/"]
    images: ["registry.example.org/lab/*", "localhost/base:1"]
    builds: [hospital-1]
    devices: [aggregator]
    """
    assert ConsentPolicy.parse(text.encode(), "file") == ConsentPolicy(
        frozenset({"aggregator", "hospital-1"}),
        Functions.APPROVED,
        {"aggregator": "https://store.aggregator.org/assets"},
        frozenset({"aggregator"}),
        frozenset({"hospital-1"}),
        frozenset({"https://packages.example.org/simple"}),
        ("registry.example.org/lab/*", "localhost/base:1"),
        frozenset({"hospital-1"}),
        frozenset({"aggregator"}),
    )
    assert ConsentPolicy.parse(b"", "file") == ConsentPolicy()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("organization: [a]", "line 1: .*did you mean 'organizations'"),
        ("functions: approve", "line 1: any or approved is expected"),
        ("functions: [any]", "line 1: text is expected"),
        ("organizations: ['*']", "is no organization"),
        ("organizations: a", "a list, as in"),
        ("organizations: [0123]", "in quotes"),
        ("network: [a]\nnetwork: [b]", "line 2: this is there a second time"),
        ("stores: {a: 'http://a'}", "line 1: the URL of its asset store is expected, .* https URL"),
        ("stores: {a: 'https://['}", "https URL"),
        ("stores: {a: 'https://a?b'}", "https URL"),
        ("stores: [a]", "keys and values"),
        ("sources: ['*']", "is no organization"),
        ("builds: ['*']", "is no organization"),
        ("images: ['*']", "the name of an image is expected"),
        ("images: ['a b']", "the name of an image is expected"),
        ("indexes: ['http://a']", "https URL of a package index"),
        ("indexes: ['https://u:p@a']", "https URL of a package index"),
    ],
)
def test_what_is_no_policy_is_refused(text, words):
    with pytest.raises(DocumentError, match=words):
        ConsentPolicy.parse(text.encode(), "consent.yaml")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    policy = tmp_path / "consent.yaml"
    policy.write_text("organizations: [aggregator]\n")
    return policy, tmp_path / "consent.decisions.yaml"


def test_both_files_are_read_again_when_they_change(files):
    policy, decided = files
    consent = Consent(OWN, policy, decided)
    consent.check()
    assert consent.judge(asked()) is None
    policy.write_text("organizations: [aggregator]\nfunctions: approved\n")
    assert consent.judge(asked()).function
    decide(decided, Kind.FUNCTIONS, A, approved=True)
    assert consent.judge(asked()) is None
    assert consent.judge(asked(checksum=B)).function, "another archive under the same key"
    decide(decided, Kind.ORGANIZATIONS, "aggregator", approved=False)
    assert consent.judge(asked()).refused
    decide(decided, Kind.ORGANIZATIONS, "aggregator", approved=True)
    assert consent.judge(asked()) is None, "the last decision about the same stands"


@pytest.mark.parametrize(
    "wrong", [b"organizations: [", b"organisations: [a]", b"\xff\xfe\x00", b"a" * (1024 * 1024 + 1)]
)
def test_a_wrong_file_leaves_what_held_before_with_one_line(files, wrong):
    policy, decided = files
    consent = Consent(OWN, policy, decided)
    assert consent.judge(asked()) is None
    policy.write_bytes(wrong)
    structlog.configure()
    with capture_logs() as log:
        for _ in range(3):
            assert consent.judge(asked()) is None
            assert consent.judge(asked(plan_owner="stranger")).plan
    assert [line["event"] for line in log] == ["consent_policy.not_reloaded"]
    with pytest.raises(DocumentError):
        Consent(OWN, policy, decided).check()
    assert Consent(OWN, policy, decided).judge(asked()), "without one that was good nothing of others runs"


def test_a_policy_that_is_not_there_at_the_start_is_refused(files):
    policy, decided = files
    policy.unlink()
    with pytest.raises(DocumentError, match=r"consent\.yaml: No such file or directory; a file in YAML is expected"):
        Consent(OWN, policy, decided).check()
    with pytest.raises(DocumentError, match="Is a directory"):
        Consent(OWN, policy.parent, decided).check()


def test_until_the_decisions_were_good_once_nothing_of_others_runs(files):
    policy, decided = files
    decide(decided, Kind.FUNCTIONS, A, approved=False)
    good = decided.read_bytes()
    decided.write_bytes(good + b"?")
    consent = Consent(OWN, policy, decided)
    assert consent.judge(asked()), "what was refused is not known"
    assert consent.judge(asked(checksum=B)).plan
    decided.write_bytes(good)
    assert consent.judge(asked()).refused
    assert consent.judge(asked(checksum=B)) is None


def test_a_policy_that_is_replaced_within_one_tick_of_the_clock_is_seen(files):
    policy, decided = files
    consent = Consent(OWN, policy, decided)
    assert consent.judge(asked()) is None
    before, other = policy.stat(), policy.with_name("other")
    other.write_text("organizations: [aggregatoR]\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(policy)
    assert policy.stat().st_mtime_ns == before.st_mtime_ns
    assert consent.judge(asked()).plan


def test_a_policy_that_is_gone_leaves_what_held_before(files):
    policy, decided = files
    consent = Consent(OWN, policy, decided)
    assert consent.judge(asked()) is None
    policy.unlink()
    assert consent.judge(asked()) is None
    os.mkfifo(decided)
    assert consent.judge(asked()) is None, "what is no file cannot hold up a worker"


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("refused: [")], ids=["gone", "wrong"])
def test_what_was_refused_stays_refused_when_the_file_is_damaged_before_a_task_asks(files, damage):
    policy, decided = files
    structlog.configure()
    with capture_logs() as log:
        consent = Consent(OWN, policy, decided)
        consent.follow()
        decide(decided, Kind.ORGANIZATIONS, "aggregator", approved=False)
        wait_until(lambda: log, 60, "the decision to be seen though no task asked")
        damage(decided)
        wait_until(lambda: len(log) > 1, 60, "the line")
        assert consent.judge(asked()).refused
        assert consent.judge(asked()).refused
        consent.end()
    assert [line["event"] for line in log] == ["consent_decisions.reloaded", "consent_decisions.not_reloaded"]


def test_decisions_that_were_there_and_are_gone_are_a_fault_until_they_are_back_or_empty(files):
    policy, decided = files
    consent = Consent(OWN, policy, decided)
    assert consent.judge(asked()) is None, "absent from the start is none"
    decide(decided, Kind.FUNCTIONS, A, approved=False)
    assert consent.judge(asked()).refused
    decided.unlink()
    assert consent.judge(asked()).refused
    with pytest.raises(DocumentError, match="it was there and is gone"):
        consent.check()
    decided.write_text("")
    assert consent.judge(asked()) is None


def test_decisions_that_were_there_when_the_worker_started_are_missed_in_a_process_that_starts_without_them(files):
    policy, decided = files
    decide(decided, Kind.FUNCTIONS, A, approved=False)
    consent = Consent(OWN, policy, decided)
    consent.check()
    decided.unlink()
    assert consent.judge(asked(checksum=B)).plan


@given(policies, decisions, asked_of)
def test_while_the_policy_is_not_known_nothing_runs_that_it_might_not_admit(tmp_path_factory, policy, decided, asked):
    folder = tmp_path_factory.mktemp("unknown")
    wrong, file = folder / "consent.yaml", folder / "decisions.yaml"
    wrong.write_text("organizations: [")
    file.write_text(decided.dump())
    if Consent(OWN, wrong, file).judge(asked) is None:
        assert judge(OWN, policy, decided, asked) is None


@given(decisions)
def test_decisions_are_read_as_they_were_written(decided):
    assert Decisions.parse(decided.dump().encode(), "file") == decided


def test_a_wrong_file_of_decisions_is_not_written_over(files):
    _, decided = files
    decided.write_text("approved: {function: [x]}")
    with pytest.raises(DocumentError, match="did you mean 'functions'"):
        decide(decided, Kind.FUNCTIONS, A, approved=True)
    assert decided.read_text() == "approved: {function: [x]}"
