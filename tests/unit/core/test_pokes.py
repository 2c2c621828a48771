"""What both sides of a queue agree on."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import pokes

NAMES = st.text(min_size=1, max_size=30)


def test_both_sides_are_told_the_same_for_redis_and_valkey():
    settings = pokes.celery_settings("redis://host/0", "hospital-1")
    assert settings["broker_transport_options"] == {"global_keyprefix": "{org.hospital-1}:"}
    assert settings["task_queues"]["org.hospital-1"]["queue_arguments"] is None


@pytest.mark.parametrize("url", ["amqp://host/vhost", "amqps://host/vhost", "pyamqp://host/vhost"])
def test_both_sides_are_told_the_same_for_rabbitmq(url):
    settings = pokes.celery_settings(url, "hospital-1")
    assert settings["broker_transport_options"] == {"confirm_publish": True}
    assert settings["task_queues"]["org.hospital-1"]["queue_arguments"] == {"x-queue-type": "quorum"}


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
