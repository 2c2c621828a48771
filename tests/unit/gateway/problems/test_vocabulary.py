"""Which node a configuration request is for, and which files it may name."""

import pytest

from orchestrator.core.errors import PermissionDeniedError
from orchestrator.gateway.problems import vocabulary


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("hardwares", 3),
        (" Modality ", 4),
        ("metrics, modality: in, out", 4),
        ("model_from_goal, a model of one modality", 5),
        ("HF_SEARCH,words, 3", 5),
    ],
)
def test_the_first_word_says_which_node(text: str, node: int):
    assert vocabulary.KINDS[vocabulary.first_word(text)] == node


@pytest.mark.parametrize("text", ["", ",", "a modality", "hardwares modality"])
def test_words_elsewhere_do_not(text: str):
    assert vocabulary.first_word(text) not in vocabulary.KINDS


@pytest.mark.parametrize("text", ["dataset_path, /data/set/a.csv", "DATASET_PATH,/data/set//b/./c.csv", "modality"])
def test_files_in_a_folder_that_is_allowed_are_forwarded(text: str):
    vocabulary.check(text, ("/data/set/",))


@pytest.mark.parametrize(
    "text",
    [
        "dataset_path, /etc/passwd",
        "dataset_path, /data/set/../../etc/passwd",
        "dataset_path, /data/settings.csv",
        "dataset_path, /data/set",
        "dataset_path, data/set/a.csv",
        "dataset_path",
        "x, dataset_path, /data/set/a.csv",
    ],
)
def test_all_others_are_not(text: str):
    with pytest.raises(PermissionDeniedError, match="DATASET_FOLDERS"):
        vocabulary.check(text, ("/data/set",))


def test_without_a_folder_none_is():
    with pytest.raises(PermissionDeniedError):
        vocabulary.check("dataset_path, /data/a.csv", ())
