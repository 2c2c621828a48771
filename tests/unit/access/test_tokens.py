"""When a token counts."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access.tokens import Token

MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(ends=MOMENTS, revoked=st.none() | MOMENTS, at=MOMENTS)
def test_a_token_counts_before_its_end_unless_it_was_revoked(ends: datetime, revoked: datetime | None, at: datetime):
    token = Token("id", "org-1", frozenset({"channel"}), ends, ends, revoked)
    assert bool(token.refused(at)) == (revoked is not None or at >= ends)
