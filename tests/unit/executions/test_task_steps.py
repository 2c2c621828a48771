from orchestrator import protos as pb
from orchestrator.executions.graph.containers import Container
from orchestrator.executions.runtimes.steps import NewStep
from orchestrator.executions.tasks import task_steps
from orchestrator.executions.tasks.placement import Place

CENTRAL = Place.of("central")


def container(name, *parents, at="central"):
    return Container(name, parents, "img", node_selector={"at": at})


def made(*run, last=(), together=False, before=None):
    steps = task_steps.of(
        7,
        run,
        lambda _: last,
        lambda each: Place.of(each.node_selector["at"]),
        CENTRAL,
        together=together,
        before=before,
    )
    names = {step.key: step.name for step in steps.new}
    edges = [(step.name, sorted(names[parent] for parent in step.parents)) for step in steps.new]
    for place, step in enumerate(steps.new):
        assert all(parent in [each.key for each in steps.new[:place]] for parent in step.parents)
        assert all(parent.rank < step.rank for parent in steps.new[:place] if parent.key in step.parents)
    return steps, edges


def test_of_each_container_there_is_a_step_and_all_end_at_a_gate():
    steps, edges = made(container("a", at="p"), container("b", "a"), container("c", "a"))
    assert edges == [("a", []), ("b", ["a"]), ("c", ["a"]), ("gate end", ["b", "c"])]
    assert [(step.worker, step.queue) for step in steps.new] == [
        ("p", "org.p"),
        ("central", "org.central"),
        ("central", "org.central"),
        ("central", ""),
    ]
    assert steps.exit_gate is None
    assert steps.gangs == {}


def test_containers_that_become_ready_together_start_after_one_gate():
    run = [
        container("server"),
        *(container(f"c({n})", at=f"p{n % 2}") for n in range(3)),
        container("end", "server", "c(0)"),
    ]
    steps, edges = made(*run, together=True)
    assert dict(edges)["server"] == dict(edges)["c(2)"] == ["gate together"]
    assert dict(edges)["end"] == ["c(0)", "server"]
    assert dict(edges)["gate end"] == ["c(1)", "c(2)", "end"]
    assert list(steps.gangs.values()) == [{"org.central": 1, "org.p0": 2, "org.p1": 1}]


def test_the_exit_handler_has_its_gates_and_is_below_nothing_else():
    steps, edges = made(container("a"), last=[container("onExit.x"), container("onExit.y")], together=True)
    assert edges == [
        ("a", []),
        ("gate end", ["a"]),
        ("gate exit", []),
        ("onExit.x", ["gate exit"]),
        ("onExit.y", ["gate exit"]),
        ("gate exit end", ["onExit.x", "onExit.y"]),
    ]
    assert steps.new[2].key == steps.exit_gate


def test_what_comes_before_comes_before_all_but_the_exit_handler():
    first = NewStep(pb.STEP_ROLE_START, pb.StartWork(), "central", "executions.central", "topics")
    _, edges = made(container("a"), container("b"), last=[container("onExit")], together=True, before=first)
    assert dict(edges)["gate together"] == ["topics"]
    assert dict(edges)["gate exit"] == []
