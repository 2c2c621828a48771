"""Events that are sent many in a message."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.calls.subscription import batched


@given(sizes=st.lists(st.integers(0, 400), max_size=30), most=st.integers(1, 600))
def test_batches_hold_all_events_in_their_order_and_are_as_large_as_they_may_be(sizes: list[int], most: int) -> None:
    events = [pb.Event(id=str(number), asset_key="x" * size) for number, size in enumerate(sizes)]
    messages = list(batched([event.SerializeToString() for event in events], most))
    batches = [pb.EventBatch.FromString(message) for message in messages]
    assert [event for batch in batches for event in batch.events] == events
    sizes_and_counts = [(len(message), len(batch.events)) for message, batch in zip(messages, batches, strict=True)]
    assert all(size <= most or count == 1 for size, count in sizes_and_counts)
    for before, batch in itertools.pairwise(batches):
        assert before.ByteSize() + pb.EventBatch(events=batch.events[:1]).ByteSize() > most
