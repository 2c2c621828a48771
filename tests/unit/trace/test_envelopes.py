"""An event goes out as the bytes of the same message that a query of it would give."""

import json
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.trace import envelopes, events

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(
    kind=st.sampled_from(sorted(events.FIELD_OF_KIND)),
    event_kind=st.sampled_from([pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_UPDATED, pb.EVENT_ASSET_DISABLED]),
    key=TEXTS,
    channel=st.sampled_from(["ours", "theirs"]),
    moment=st.datetimes(datetime(1971, 1, 1), datetime(9999, 1, 1)),
    metadata=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
    metadata_of_asset=st.dictionaries(TEXTS, TEXTS, max_size=3),
)
def test_the_bytes_of_an_event_are_those_of_its_message(
    kind: int,
    event_kind: int,
    key: str,
    channel: str,
    moment: datetime,
    metadata: dict[str, str] | None,
    metadata_of_asset: dict[str, str],
):
    asset = type(getattr(pb.Event(), events.FIELD_OF_KIND[kind]))()
    if "metadata" in asset.DESCRIPTOR.fields_by_name:
        asset.metadata.update(metadata_of_asset)
    row = {
        "id": uuid.uuid4(),
        "channel": channel,
        "kind": event_kind,
        "asset_kind": kind,
        "asset_key": key,
        "asset": asset.SerializeToString(),
        "metadata": metadata,
        "created_at": moment.replace(tzinfo=UTC),
    }
    read = {**row, "id": str(row["id"]), "metadata": None if metadata is None else json.dumps(metadata)}
    sent = envelopes.serialized(SimpleNamespace(**read))
    assert pb.Event.FromString(sent) == events.to_message(row)
