"""What a caller asks for, of what it may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import BadRequestError, PermissionDeniedError
from orchestrator.gateway.identity import chosen

NAMES = st.text(max_size=3)


@given(asked=st.none() | NAMES, choices=st.frozensets(NAMES, max_size=3))
def test_nobody_gets_what_it_may_not_have_and_nothing_is_guessed(asked: str | None, choices: frozenset[str]):
    try:
        found = chosen(asked, choices, "channel")
    except PermissionDeniedError:
        assert asked not in choices
        assert asked is not None or not choices
    except BadRequestError:
        assert asked is None
        assert len(choices) > 1
    else:
        assert found in choices
        assert found == asked or (asked is None and len(choices) == 1)


def test_a_long_name_is_cut_in_the_answer():
    with pytest.raises(PermissionDeniedError) as caught:
        chosen("x" * 10_000, frozenset({"a"}), "channel")
    assert len(str(caught.value)) < 200
