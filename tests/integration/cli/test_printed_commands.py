"""What we tell people to type works; and wherever a key is wanted, its beginning does, too."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from orchestrator.core.states import FUNCTION_WORDS, TASK_WORDS
from orchestrator.embedded.certificates import Layout
from tests.kit.home import Home, done
from tests.kit.local import runs_here
from tests.kit.printed import all_commands, in_modules, in_pages

from .commands import run

RUN = {
    "plan": {"list", "show", "scores", "watch"},
    "task": {"list", "show", "explain"},
    "function": {"list", "show"},
    "data": {"list"},
    "model": {"get"},
    "node": {"list"},
    "org": {"list"},
    "audit": {"check"},
    "consent": {"list", "show", "refuse", "approve"},
    "certs": {"network"},
}
"""Command -> what of it can be run as it is printed, on a network that has a plan that is Done."""


@dataclass(frozen=True)
class Here:
    """A federation that runs here: one plan of one task, which is Done.

    Args:
        keys: group of commands -> a key that it takes.
        data: the folder of the federation.
    """

    keys: dict[str, str]
    data: str


@pytest.fixture(scope="module")
def here(
    home: Home, certificates: Layout, served_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("here")
    runs_here(folder, served_address, home.client.channel, certificates, ("org-1", "org-2"))
    function = home.built(home.function(folder / "f", "outputs: {model: {kind: model}}", permissions="org-2"))
    home.client.add_dataset(__file__, name="patients")
    plan = home.client.plan("plan")
    task = plan.task(function=function, worker="org-1")
    plan.submit()
    model = done(home, task.key, b"content")
    keys = {"plan": plan.key, "task": task.key, "function": function.key, "consent": function.key, "model": model}
    return Here(keys, str(folder))


def filled(words: list[str], here: Here) -> list[str]:
    """Return printed words with what a reader would put in."""
    key = here.keys["plan"] if "--plan" in words else here.keys.get(words[0], "")
    given = [re.sub(r"^(?:KEY|\$\w+)$", key, word) for word in words]
    given = ["org-2" if word in ("hospital-1", "ID") else "org-1" if word == "hospital-2" else word for word in given]
    return ["model" if word == "PATH" else word for word in given]


def runnable() -> dict[str, list[str]]:
    found = {}
    for printed in (*in_pages(), *in_modules()):
        words = printed.words
        names = [word for word in words if re.fullmatch("[a-z]+", word)]
        # In a text a command may be named without what it needs.
        whole = printed.runs or any(word == "KEY" or word.startswith("--") for word in words)
        # Rows are looked at by whoever has the database: see tests/faults/test_backup.py.
        if "--database" in words:
            continue
        if names[:1] and set(names[1:2]) & RUN.get(names[0], set()) and (whole or names[1] in ("list", "check")):
            found[" ".join(words)] = words
    return found


RUNNABLE = runnable()


def test_they_are_found():
    assert {"plan list", "plan show", "function show", "consent list"} <= {" ".join(w[:2]) for w in RUNNABLE.values()}


@pytest.mark.parametrize("line", RUNNABLE)
def test_a_printed_command_runs(line: str, here: Here, tmp_path: Path):
    environment = {"ORCHESTRATOR_DATA": here.data, "ORCHESTRATOR_CONSENT_DECISIONS": str(tmp_path / "decisions.yaml")}
    code, _, errors = run(*filled(RUNNABLE[line], here), environment=environment, folder=tmp_path)
    assert (code, errors) == (0, "")


COMMANDS = {names: command for names, command in all_commands() if not isinstance(command, click.Group)}
TAKING_KEYS = [
    (*names, *([] if isinstance(parameter, click.Argument) else [parameter.opts[0]]))
    for names, command in COMMANDS.items()
    for parameter in command.params
    if parameter.name in ("key", "function", "plan") and parameter.type is click.STRING
]


@pytest.mark.parametrize("words", TAKING_KEYS, ids=" ".join)
def test_the_beginning_of_a_key_is_looked_for(words: tuple[str, ...], here: Here):
    code, _, errors = run(*words, "zz", environment={"ORCHESTRATOR_DATA": here.data})
    assert (code, errors.count("\n"), "key that begins with 'zz'" in errors) == (3, 1, True)


def test_states_have_one_word_in_text_and_json(here: Here):
    environment = {"ORCHESTRATOR_DATA": here.data}
    plan, task, function = (here.keys[name] for name in ("plan", "task", "function"))

    def read(*words: str) -> dict:
        return json.loads(run(*words, "--json", environment=environment)[1])

    shown = read("task", "show", task)
    states = {
        ("plan", "list"): read("plan", "list")["plans"][0]["state"],
        ("plan", "show", plan): read("plan", "show", plan)["tasks"][0]["state"],
        ("task", "show", task): shown["state"],
        ("function", "list"): read("function", "list")["functions"][-1]["state"],
        ("function", "show", function): read("function", "show", function)["state"],
    }
    for words, state in states.items():
        assert state in {*TASK_WORDS.values(), *FUNCTION_WORDS.values()}
        assert state in run(*words, environment=environment)[1]
    assert [event["state"] for event in shown["history"]] == ["To do", "Doing", "Done"]
