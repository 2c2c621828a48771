"""The address of problems: without credentials on loopback alone."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.settings import ServerSettings


def settings(tmp_path: Path, **more: Any) -> ServerSettings:
    channels = tmp_path / "channels.yaml"
    channels.write_text("channels: {project: [central]}")
    told = {"problems_organization": "central", "problems_channel": "project"} | more
    return ServerSettings(database_url="postgresql://x", channel_config=channels, **told)


def test_it_is_off_until_an_address_is_set(tmp_path: Path):
    assert "ORCHESTRATOR_PROBLEMS_ADDRESS" not in settings(tmp_path).addresses


@pytest.mark.parametrize("address", ["127.0.0.1:5001", "localhost:5001", "[::1]:5001"])
def test_on_loopback_whoever_comes_is_let_in(tmp_path: Path, address: str):
    found = settings(tmp_path, problems_address=address)
    assert (found.problems_identity, found.problems_owner, found.problems_place) == (("open",), "central", "project")
    assert found.addresses["ORCHESTRATOR_PROBLEMS_ADDRESS"] == address


def test_the_organization_and_the_channel_may_be_those_of_the_api(tmp_path: Path):
    own = {"problems_organization": None, "problems_channel": None}
    found = settings(tmp_path, problems_address="127.0.0.1:1", **own, api_organization="a", api_channel="b")
    assert (found.problems_owner, found.problems_place) == ("a", "b")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"problems_address": "0.0.0.0:5001"}, "PROBLEMS_IDENTITY"),
        ({"problems_address": "0.0.0.0:5001", "problems_identity": "open,token"}, "PROBLEMS_IDENTITY"),
        ({"problems_address": "0.0.0.0:5001", "problems_identity": "certificate"}, "VERIFY_CLIENT_MSP_ID"),
        ({"problems_address": "127.0.0.1:5001", "problems_identity": "certificate"}, "PROBLEMS_IDENTITY"),
        ({"problems_address": "127.0.0.1:5001", "problems_organization": None}, "PROBLEMS_ORGANIZATION"),
        ({"problems_address": "127.0.0.1:5001", "problems_channel": None}, "PROBLEMS_CHANNEL"),
        ({"problems_address": "127.0.0.1"}, "host:port"),
    ],
)
def test_what_is_not_safe_or_not_whole_does_not_start(tmp_path: Path, more: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        settings(tmp_path, **more)


def test_elsewhere_a_token_is_asked_for(tmp_path: Path):
    found = settings(tmp_path, problems_address="0.0.0.0:5001", problems_identity="token")
    assert found.problems_identity == ("token",)
