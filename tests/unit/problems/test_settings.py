"""Settings of problems, as the environment says them."""

import pytest
from cryptography.fernet import Fernet
from pydantic import ValidationError

from orchestrator.problems import settings
from tests.kit.deployment import told_by

MODEL, RESOURCES = 5, 3


def test_limits_of_single_kinds():
    with told_by(PROBLEMS_HARD_LIMITS="ML_MODEL=10m, HW_RESOURCES=60", PROBLEMS_SOFT_LIMIT="3s"):
        said = settings.current()
        assert [said.hard_limit(kind) for kind in (MODEL, RESOURCES, 0)] == [600, 60, 900]
        assert said.soft_limit(MODEL) == 3


@pytest.mark.parametrize(
    "variables",
    [
        {"PROBLEMS_HARD_LIMITS": "MODEL=10m"},
        {"PROBLEMS_HARD_LIMITS": "ML_MODEL=soon"},
        {"PROBLEMS_HARD_LIMITS": "ML_MODEL=0"},
        {"PROBLEMS_HARD_LIMITS": "ML_MODEL=1m, ML_MODEL=10m"},
        {"PROBLEMS_HARD_LIMIT": "inf"},
        {"PROBLEMS_TIME_LIMIT": "nan"},
        {"MODULE_SILENCE": "1e300"},
        {"PROBLEMS_SECRET_KEY": "too-short-to-be-one"},
        {"PROBLEMS_ATTEMPTS": "0"},
    ],
)
def test_what_is_not_as_it_should_be_is_said_without_its_value(variables: dict[str, str]):
    with told_by(**variables), pytest.raises(ValidationError) as error:
        settings.current()
    assert "too-short" not in str(error.value)


def test_a_key_and_names():
    with told_by(PROBLEMS_SECRET_KEY=Fernet.generate_key().decode(), PROBLEMS_SECRET_NAMES="hf_token, other"):
        assert settings.current().problems_secret_names == ("hf_token", "other")
    assert settings.current().problems_secret_key is None
