"""`orchestrator function`, `data`, `model` and `plan scores`, against a real server and a real asset store."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.embedded.certificates import Layout
from tests.kit.home import Home, done, folders_in, function_in
from tests.kit.partners import Partners

from .commands import options, run, run_in_terminal

MEASURES = "outputs: {model: {kind: model}, auc: {kind: performance}}"
KEY = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def as_organization(home: Home, certificates: Layout, address: str, organization: str = "org-1") -> list[str]:
    channel = home.client.channel
    network = Partners(address, channel, home.client, home.other, "", "", pb.Function(), pb.Function(), pb.Function())
    return [*options(network, certificates, organization), "--peer-ca-cert", str(certificates.peers)]


@pytest.fixture
def ours(home: Home, certificates: Layout, served_address: str) -> list[str]:
    return as_organization(home, certificates, served_address)


def row_of(output: str, key: str) -> list[str]:
    (row,) = (words for line in output.splitlines() if (words := line.split())[:1] == [key])
    return row


def test_a_function_is_added_listed_and_shown(home: Home, ours: list[str], tmp_path: Path) -> None:
    folder = function_in(tmp_path / "average")
    code, output, errors = run("function", *ours, "add", str(folder), "--for", "org-2", "--name", "mean")
    assert (code, errors) == (0, "")
    key = output.strip()
    assert re.fullmatch(KEY, key)
    code, output, _ = run("function", *ours, "list", "--json")
    listed = {each["key"]: each for each in json.loads(output)["functions"]}
    assert (code, listed[key]["name"], listed[key]["state"]) == (0, "mean", "Waiting")
    code, output, _ = run("function", *ours, "list")
    assert (code, row_of(output, key)[:3]) == (0, [key, "mean", "org-1"])
    code, output, _ = run("function", *ours, "show", key[:10])
    assert code == 0
    assert re.search(r"for +org-1, org-2 *\n", output)
    assert re.search(r"models +model, multiple *\n", output)
    code, output, _ = run("function", *ours, "show", key[:10], "--json")
    assert (code, json.loads(output)["inputs"]["models"]["multiple"]) == (0, True)


def test_adding_waits_where_it_is_told_to(ours: list[str], tmp_path: Path) -> None:
    folder = str(function_in(tmp_path / "average"))
    code, output, errors = run("function", *ours, "add", folder, "--wait", "--timeout", "0.1")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert "is not ready after 0.1 s" in errors


def test_what_is_wrong_with_a_function_is_one_line(ours: list[str], tmp_path: Path) -> None:
    slip = function_in(tmp_path / "slip", "outputs:\n  model: {kind: modle}\n")
    code, output, errors = run("function", *ours, "add", str(slip))
    assert (code, output) == (2, "")
    assert errors == f"Error: {slip}/function.yaml, line 2: this kind is not known; did you mean 'model'?\n"
    good = str(function_in(tmp_path / "good"))
    code, _, errors = run("function", *ours, "add", good, "--public", "--for", "org-2")
    assert (code, "give one of them" in errors) == (2, True)
    code, _, errors = run("function", *ours, "add", good, "--for", "nobody")
    assert (code, errors.count("\n"), "nobody" in errors) == (3, 1, True)
    code, _, errors = run("function", *ours[:-2], "add", good)
    assert (code, errors.count("\n"), "--peer-ca-cert" in errors) == (2, 1, True)
    code, _, errors = run("function", *ours, "show", "zz")
    assert (code, "no function of channel" in errors) == (3, True)


def test_data_are_added_and_listed(home: Home, ours: list[str], tmp_path: Path) -> None:
    one, two, three = map(str, folders_in(tmp_path, b"one", b"two", b"three"))
    new = ("--opener", __file__, "--name", "patients", "--for", "org-2", "--logs-for", "org-2")
    code, output, errors = run("data", *ours, "add", *new, one, two)
    assert (code, errors) == (0, "")
    (_, _, key), *samples = (line.split(maxsplit=3)[:4] for line in output.splitlines())
    assert [line[:2] + line[3:] for line in samples] == [["data", "sample", one], ["data", "sample", two]]
    code, output, _ = run("data", *ours, "add", "--to", key[:10], two, three, "--json")
    again = json.loads(output)["data_samples"]
    assert (code, again[0]["key"], again[1]["folder"]) == (0, samples[1][2], three)
    assert home.samples() >= {sample["key"] for sample in again}
    code, output, _ = run("data", *ours, "list")
    assert (code, row_of(output, key)) == (0, [key, "patients", "org-1", "3", "org-1,", "org-2"])
    code, output, _ = run("data", *ours, "list", "--json")
    (listed,) = (each for each in json.loads(output)["datasets"] if each["key"] == key)
    assert (code, len(listed["data_sample_keys"])) == (0, 3)
    (tmp_path / "empty").mkdir()
    code, output, errors = run("data", *ours, "add", *new, one, str(tmp_path / "empty"))
    assert (code, output, errors.count("\n")) == (2, "", 1)
    code, output, errors = run("data", *ours, "add", "--opener", str(tmp_path / "empty"), "--name", "none", one)
    assert (code, output) == (2, "")
    assert "__init__.py is missing" in errors
    _, output, _ = run("data", *ours, "list")
    assert output.count("patients") == 1
    assert "none" not in output
    for words in (("add", one), ("add", "--to", key, *new), ("add", "--opener", __file__)):
        code, _, errors = run("data", *ours, *words)
        assert (code, "new" in errors) == (2, True)


def test_organizations_are_listed(home: Home, ours: list[str]) -> None:
    code, output, _ = run("org", *ours, "list")
    assert (code, row_of(output, "org-1")[:2]) == (0, ["org-1", home.url])
    code, output, _ = run("org", *ours, "list", "--json")
    assert {each["id"]: each["address"] for each in json.loads(output)["organizations"]} == {
        "org-1": home.url,
        "org-2": "",
    }


def test_models_and_scores_are_read(
    home: Home, ours: list[str], tmp_path: Path, certificates: Layout, served_address: str
) -> None:
    function = home.built(home.function(tmp_path / "average", MEASURES))
    plan = home.client.plan("plan")
    first, second = (plan.task(function=function, worker="org-1", metadata={"round": each}) for each in ("1", "2"))
    plan.submit()
    code, output, _ = run("plan", *ours, "scores", plan.key[:10])
    assert (code, output) == (0, "no scores yet\n")
    key = done(home, first.key, b"content")
    target = tmp_path / "model"
    said = (0, f"model {key} is in {target}, sha256 {home.client.model(key).address.checksum}\n", "")
    for named in (key, key[:10], first.key, first.key[:10]):
        assert run("model", *ours, "get", named, str(target)) == said
        assert target.read_bytes() == b"content"
        target.unlink()
    code, output, _ = run("model", *ours, "get", first.key, str(tmp_path), "--output", "model", "--json")
    assert (code, json.loads(output)["file"]) == (0, str(tmp_path / key))
    code, _, errors = run("model", *ours, "get", first.key, "--output", "auc")
    assert (code, "makes no model 'auc'; it makes model" in errors) == (2, True)
    code, _, errors = run("model", *ours, "get", second.key)
    assert (code, errors.count("\n"), "it is To do" in errors) == (3, 1, True)
    code, _, errors = run("model", *ours, "get", first.key, str(tmp_path / "nowhere" / "model"))
    assert (code, errors.count("\n"), "cannot be written" in errors) == (1, 1, True)
    theirs = as_organization(home, certificates, served_address, "org-2")
    code, _, errors = run("model", *theirs, "get", key, str(target))
    assert (code, errors.count("\n"), "org-2 may not read" in errors, target.exists()) == (3, 1, True, False)
    code, output, _ = run("plan", *ours, "scores", plan.key)
    assert [line.split() for line in output.splitlines() if "auc" in line] == [["1", "auc", "0.5000"]]
    code, output, _ = run("plan", *ours, "scores", plan.key, "--csv")
    (line,) = csv.DictReader(io.StringIO(output))
    assert (code, line["round"], line["value"], line["task"]) == (0, "1", "0.5", first.key)
    code, output, _ = run("plan", *ours, "scores", plan.key, "--json")
    assert (code, json.loads(output)["scores"][0]["organization"]) == (0, "org-1")
    code, _, errors = run("plan", *ours, "scores", plan.key, "--json", "--csv")
    assert (code, "give one of them" in errors) == (2, True)


def test_a_terminal_of_80_columns_has_a_line_for_each_row_and_breaks_no_key(
    home: Home, ours: list[str], tmp_path: Path
) -> None:
    long = "a name that is longer than what is left of a line beside all the rest of it"
    function = home.built(home.function(tmp_path / "average", MEASURES, name=long))
    dataset = home.client.add_dataset(__file__, name=long)
    plan = home.client.plan(long)
    task = plan.task(function=function, worker="org-1", metadata={"round": "1"})
    plan.submit()
    made = done(home, task.key, b"content")

    def shown(*words: str) -> list[str]:
        code, output = run_in_terminal(words[0], *ours, *words[1:], columns=80)
        assert code == 0
        lines = re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).splitlines()
        assert all(len(line) <= 80 for line in lines), output
        return lines

    for words, key in (
        (("plan", "list"), plan.key),
        (("plan", "show", plan.key[:8]), task.key),
        (("function", "list"), function.key),
        (("data", "list"), dataset.key),
    ):
        rows = [line for line in shown(*words) if key[:8] in line and key not in line]
        assert len(rows) == 1, words
        assert "…" in rows[0]
        assert "org-1" in rows[0]
    lines = shown("task", "show", task.key[:8])
    assert sum(made in line for line in lines) == 1
    assert sum(task.key in line for line in lines) == 1
    assert any(home.url in line for line in shown("org", "list"))
    assert sum("auc" in line for line in shown("plan", "scores", plan.key[:8])) == 1


def test_consent_takes_the_beginning_of_a_key_too(
    home: Home, certificates: Layout, served_address: str, tmp_path: Path
) -> None:
    function = home.function(tmp_path / "average", permissions="org-2")
    theirs = as_organization(home, certificates, served_address, "org-2")
    files = ("--decisions", str(tmp_path / "decisions.yaml"), "--work-dir", str(tmp_path))
    code, output, errors = run("consent", *theirs, *files, "show", function.key[:8])
    assert (code, errors) == (0, "")
    assert function.key in output
    assert "--- function.yaml" in output
    code, output, errors = run("consent", *theirs, *files, "approve", "--function", function.key[:8])
    assert (code, errors, output.splitlines()[0]) == (
        0,
        "",
        f"org-2 has approved function average of org-1, archive sha256 {function.archive.checksum}",
    )
