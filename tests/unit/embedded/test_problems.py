"""What a federation that serves problems is told by the environment, and the key that it makes for users' secrets."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cryptography.fernet import Fernet

from orchestrator.embedded.problems import Served, of_environment


def places(folder: Path) -> Any:
    return cast(Any, SimpleNamespace(data=folder, channel="federation"))


def test_an_operator_s_settings_of_problems_are_handed_on() -> None:
    given = {
        "HF_TOKEN": "hf_one",
        "ORCHESTRATOR_PROBLEMS_HARD_LIMIT": "5m",
        "ORCHESTRATOR_PROBLEMS_IDENTITY": "token",
        "ORCHESTRATOR_PROBLEMS_URL": "http://elsewhere",
        "ORCHESTRATOR_MODULE_SILENCE": "",
        "ORCHESTRATOR_ADDRESS": "elsewhere",
    }
    assert of_environment(given) == {"HF_TOKEN": "hf_one", "PROBLEMS_HARD_LIMIT": "5m"}
    assert of_environment({**given, "ORCHESTRATOR_HF_TOKEN": "hf_two"})["HF_TOKEN"] == "hf_two"


def test_where_and_whose_it_is_is_its_own_affair(tmp_path: Path) -> None:
    served = Served("aggregator", own={"PROBLEMS_ADDRESS": "0.0.0.0:80", "PROBLEMS_HARD_LIMIT": "5m"})
    settings = served.settings(places(tmp_path))
    assert (settings["PROBLEMS_ADDRESS"], settings["PROBLEMS_HARD_LIMIT"]) == ("127.0.0.1:5001", "5m")


def test_a_key_for_users_secrets_is_made_once_and_is_its_owner_s(tmp_path: Path) -> None:
    first, again = (Served("aggregator").settings(places(tmp_path))["PROBLEMS_SECRET_KEY"] for _ in range(2))
    assert first == again
    Fernet(str(first))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    named = Served("aggregator", own={"PROBLEMS_SECRET_KEY": "mine"}).settings(places(tmp_path / "none"))
    assert named["PROBLEMS_SECRET_KEY"] == "mine"
