import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import protos as pb
from orchestrator.core import permissions
from orchestrator.core.errors import BadRequestError

names = st.sampled_from(["a", "b", "c", "d"])
permission = st.builds(pb.Permission, public=st.booleans(), authorized_ids=st.lists(names, unique=True))


@given(permission, permission, names)
def test_a_union_covers_whom_either_covers(first, second, name):
    both = permissions.union(first, second)
    assert permissions.allows(both, name) == (permissions.allows(first, name) or permissions.allows(second, name))


@given(permission, permission, names)
def test_an_intersection_covers_whom_both_cover(first, second, name):
    both = permissions.intersection(first, second)
    assert permissions.allows(both, name) == (permissions.allows(first, name) and permissions.allows(second, name))


def test_the_owner_is_appended_when_absent():
    granted = permissions.grant(pb.NewPermissions(authorized_ids=["b"]), "a", {"a", "b"})
    assert list(granted.authorized_ids) == ["b", "a"]


def test_the_owner_is_not_repeated():
    granted = permissions.grant(pb.NewPermissions(authorized_ids=["a", "b"]), "a", {"a", "b"})
    assert list(granted.authorized_ids) == ["a", "b"]


def test_an_organization_that_is_not_registered_is_refused_by_name():
    with pytest.raises(BadRequestError, match=r"OE0003.*'stranger'"):
        permissions.grant(pb.NewPermissions(authorized_ids=["stranger"]), "a", {"a"})
