"""What people ask of compute plans and keys: performances, times, the beginnings of keys; without the wire."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.compute import functions, keys, performances, plans, times
from orchestrator.core import fields
from tests.kit import messages
from tests.kit.member import Member, refused


def listed(network: Member, use_case, asked) -> list:
    """All rows of a list, one in a page, as another organization reads it."""
    asked.page_size = 1
    found = []
    while True:
        answer = network.call(use_case, asked, "org-2")
        found += answer.performances if hasattr(answer, "performances") else answer.times
        asked.page_token = answer.next_page_token
        if not asked.page_token:
            return found


def test_the_performances_of_a_plan_are_listed_and_of_no_other(network, stranger):
    function = network.call(functions.register, messages.new_function(outputs={"score": messages.SCORE}))
    network.act(function, pb.FUNCTION_ACTION_BUILDING)
    network.act(function, pb.FUNCTION_ACTION_READY)
    others = network.call(plans.register, messages.new_plan())
    measured = {}
    for plan in (network.plan, others):
        for value in (0.25, 0.75):
            (task,) = network.register(plan=plan, function_key=function.key, outputs={"score": messages.output()})
            attempt = network.claim(task).attempt
            network.complete(attempt, performances=[messages.new_performance(str(task), performance_value=value)])
            measured.setdefault(plan.key, []).append((str(task), value))
    for plan in (network.plan, others):
        found = listed(network, performances.of_plan, pb.QueryPlanPerformancesParam(compute_plan_key=plan.key))
        assert [(each.compute_task_key, each.performance_value) for each in found] == measured[plan.key]
    with refused("OE0002"):
        network.call(performances.of_plan, pb.QueryPlanPerformancesParam(compute_plan_key=messages.new_key()))


def test_the_times_of_the_tasks_that_have_begun(network, stranger):
    done, running, again, _ = network.register(4)
    network.run(done)
    network.claim(running)
    network.release(network.claim(again).attempt)
    network.claim(again)
    found = listed(network, times.query, pb.QueryPlanTimesParam(compute_plan_key=network.plan.key))
    shown = {each.compute_task_key: each for each in found}
    assert set(shown) == {str(done), str(running), str(again)}
    assert [shown[str(task)].attempts for task in (done, running, again)] == [1, 1, 2]
    assert [shown[str(task)].HasField("ended") for task in (done, running, again)] == [True, False, False]
    assert shown[str(done)].began.ToDatetime() <= shown[str(done)].ended.ToDatetime()
    network.execute("DELETE FROM attempts WHERE task_key = :key", key=done)
    found = listed(network, times.query, pb.QueryPlanTimesParam(compute_plan_key=network.plan.key))
    assert not next(each for each in found if each.compute_task_key == str(done)).HasField("began"), "forgotten"
    with refused("OE0002"):
        network.call(times.query, pb.QueryPlanTimesParam(compute_plan_key=messages.new_key()))


def test_the_tasks_of_plans_are_counted_by_their_states(network, stranger):
    done, running, *_ = network.register(4)
    network.run(done)
    network.claim(running)
    network.below(running)
    empty = network.new_plan()
    elsewhere = Member(network.database, channel="another")
    elsewhere.register(plan=elsewhere.plan)
    asked = [network.plan.key.upper(), empty.key, elsewhere.plan.key, messages.new_key()]
    (found,) = network.call(plans.count_tasks, pb.CountTasksParam(compute_plan_keys=asked), "org-2").counts
    assert found.compute_plan_key == network.plan.key
    assert {each.status: each.count for each in found.tasks} == {
        pb.STATUS_DONE: 1,
        pb.STATUS_EXECUTING: 1,
        pb.STATUS_WAITING_FOR_EXECUTOR_SLOT: 2,
        pb.STATUS_WAITING_FOR_PARENT_TASKS: 1,
    }
    for wrong in ([], [empty.key] * (plans.MOST_AT_ONCE + 1)):
        with refused("OE0003", "1 to 1000"):
            network.call(plans.count_tasks, pb.CountTasksParam(compute_plan_keys=wrong))


KINDS = [pb.ASSET_COMPUTE_PLAN, pb.ASSET_COMPUTE_TASK]


def begin(network: Member, beginning: str, *kinds: int) -> list[tuple[int, str]]:
    found = network.call(keys.find, pb.FindKeysParam(beginning=beginning, kinds=kinds or KINDS), "org-2").found
    return [(each.kind, each.key) for each in found]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(1, 36), upper=st.booleans(), spoiled=st.sampled_from(["", "-", "g", "0" * 40, "\0", "é"]))
def test_the_beginning_of_a_key_finds_it_and_nothing_else_does(network, stranger, length, upper, spoiled):
    key = network.plan.key
    beginning = key[:length]
    if spoiled:
        assert begin(network, beginning + spoiled) == (
            [(pb.ASSET_COMPUTE_PLAN, key)] if key.startswith(beginning + spoiled) else []
        )
    else:
        assert (pb.ASSET_COMPUTE_PLAN, key) in begin(network, beginning.upper() if upper else beginning)


def test_the_first_few_of_each_kind_are_found_and_of_this_channel_alone(network, stranger):
    tasks = sorted(map(str, network.register(keys.MOST + 2)))
    assert begin(network, "") == [
        (pb.ASSET_COMPUTE_PLAN, min(network.plan.key, stranger.plan.key)),
        (pb.ASSET_COMPUTE_PLAN, max(network.plan.key, stranger.plan.key)),
        *((pb.ASSET_COMPUTE_TASK, key) for key in tasks[: keys.MOST]),
    ]
    elsewhere = Member(network.database, channel="another")
    assert begin(elsewhere, network.plan.key) == []
    for kinds in ([pb.ASSET_PERFORMANCE], [99]):
        with refused("OE0003", "kinds"):
            begin(network, "a", *kinds)
    with refused("OE0003", "kinds"):
        network.call(keys.find, pb.FindKeysParam(beginning="a"))


def test_what_no_list_could_show_is_not_kept(network, monkeypatch):
    monkeypatch.setattr(fields, "LARGEST_ASSET", 1000)
    network.new_plan()
    network.register()
    metadata = {f"text {number}": "x" * 100 for number in range(10)}
    for use in (network.new_plan, network.register):
        with refused("OE0101", "at most 1000 are kept"):
            use(metadata=metadata)


def test_a_model_is_found_by_the_beginning_of_its_key(network, stranger):
    (task,) = network.register()
    attempt = network.claim(task).attempt
    model = messages.new_model(str(task))
    network.complete(attempt, model)
    assert begin(network, model.key[:13], pb.ASSET_MODEL) == [(pb.ASSET_MODEL, model.key)]
