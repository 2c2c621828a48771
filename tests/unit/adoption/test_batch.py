"""What events of another server amount to."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.adoption import batch
from orchestrator.adoption.batch import Move
from orchestrator.engine.adopted import Run

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TO_DO, DOING, DONE = pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING, pb.STATUS_DONE


def at(seconds: int) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def test_a_task_that_was_tried_again_has_had_two_attempts():
    moves = [Move(status, at(second)) for second, status in enumerate((TO_DO, DOING, TO_DO, DOING, DONE))]
    assert batch.runs(0, 0, moves) == [Run(1, at(1), at(2), TO_DO), Run(2, at(3), at(4), DONE)]


def test_an_attempt_that_runs_has_no_end():
    assert batch.runs(TO_DO, 3, [Move(DOING, at(1))]) == [Run(4, at(1))]


def test_one_that_had_begun_before_ends():
    assert batch.runs(DOING, 2, [Move(pb.STATUS_FAILED, at(5))]) == [Run(2, None, at(5), pb.STATUS_FAILED)]


@given(st.lists(st.sampled_from((TO_DO, DOING, DONE)), max_size=12), st.integers(0, 12))
def test_attempts_are_the_same_wherever_a_batch_ends(statuses: list[int], cut: int):
    moves = [Move(status, at(second)) for second, status in enumerate(statuses)]
    whole = batch.runs(0, 0, moves)
    first, later = moves[:cut], moves[cut:]
    runs = {run.number: run for run in batch.runs(0, 0, first)}
    if later:
        for run in batch.runs(first[-1].status if first else 0, max(runs, default=0), later):
            runs[run.number] = Run(run.number, run.began or runs[run.number].began, run.ended, run.outcome)
    assert list(runs.values()) == whole


def test_what_is_not_known_here_is_named_and_the_rest_is_kept():
    known = pb.Event(
        id="a", asset_key="org-1", asset_kind=pb.ASSET_ORGANIZATION, organization=pb.Organization(id="org-1")
    )
    strange = pb.Event(id="b", asset_key="k", asset_kind=98)
    empty = pb.Event(id="c", asset_key="k", asset_kind=pb.ASSET_MODEL)
    found = batch.of([strange, known, empty])
    assert list(found.events) == [known]
    assert [words.split()[1] for words in found.unread] == ["b", "c"]


def test_the_newest_message_of_an_asset_counts():
    def told(name: str) -> pb.Event:
        return pb.Event(id=name, asset_key="f", asset_kind=pb.ASSET_FUNCTION, function=pb.Function(key="f", name=name))

    assert batch.of([told("old"), told("new")]).newest[pb.ASSET_FUNCTION]["f"].name == "new"
