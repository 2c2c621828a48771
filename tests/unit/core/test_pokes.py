"""What both sides of a queue agree on."""

import fnmatch
import re

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import pokes

NAMES = st.text(min_size=1, max_size=30)


@given(NAMES, NAMES)
def test_no_organization_s_keys_are_another_s(one, other):
    prefix, key = pokes.key_prefix(pokes.account(one)), pokes.key_prefix(pokes.account(other)) + pokes.queue(other)
    assert key.startswith(prefix) == (one == other)
    # As a pattern of an ACL it stands for itself alone.
    assert fnmatch.fnmatchcase(key, prefix + "*") == (one == other)
    assert re.fullmatch(r"\{org\.[A-Za-z0-9_.~%-]+\}:", prefix)


@given(NAMES)
def test_the_account_of_a_queue_is_found(organization):
    assert pokes.account_of(pokes.queue(organization)) == pokes.account(organization)
    assert pokes.account_of(pokes.MAINTENANCE) == pokes.MAINTENANCE
