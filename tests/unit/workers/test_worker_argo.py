"""Argo Workflows, as the runtime speaks to it: over HTTP and HTTPS, to a server that is as unpleasant as a real one."""

import json
import logging
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from tests.kit import issuing
from tests.kit.argo import NAMESPACE, FakeArgo, Refusal
from workers.runtime.argo import Argo, ArgoSettings
from workers.runtime.errors import ExistsError, RefusedError, UnreachableError
from workers.runtime.workflows import LABEL, Workflow

PATH = f"/api/v1/workflows/{NAMESPACE}"
TOKEN = "eyJ-a-token-of-nobody"


def manifest(label: str = "ab-7", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "tumour-", "labels": {LABEL: label}, **metadata},
        "spec": {"entrypoint": "main", "arguments": {"parameters": [{"name": "größe", "value": "7"}]}},
    }


def client(fake: FakeArgo, **settings: Any) -> Argo:
    given = {"argo_workflows_api_host": fake.url, "argo_workflows_timeout": 5, "argo_workflows_retries": 0, **settings}
    # By their environment names, as an operator gives them.
    return Argo(ArgoSettings(**{name.upper(): value for name, value in given.items()}))


@pytest.fixture
def fake() -> Iterator[FakeArgo]:
    with FakeArgo() as server:
        yield server


@pytest.fixture
def argo(fake: FakeArgo) -> Iterator[Argo]:
    made = client(fake)
    yield made
    made.close()


def test_a_workflow_is_created_to_the_letter(fake, argo):
    name = argo.create(manifest())
    assert name.startswith("tumour-")
    [asked] = fake.asked
    assert (asked.method, asked.path, asked.query) == ("POST", PATH, {})
    assert asked.headers["Content-Type"] == "application/json"
    assert "Authorization" not in asked.headers
    assert json.loads(asked.body) == {"workflow": manifest()}


def test_workflows_are_found_by_their_label(fake, argo):
    fake.page = 2
    names = [argo.create(manifest(label)) for label in ("ab-1", "ab-2", "ab-3")]
    argo.create({**manifest(), "metadata": {"generateName": "somebody-else-"}})
    fake.end(names[1], "Failed", "no quota")
    assert argo.find("ab-2") == [Workflow(names[1], "ab-2", "Failed", "no quota")]
    assert [(each.name, each.phase) for each in argo.find()] == [(names[0], ""), (names[1], "Failed"), (names[2], "")]
    assert argo.find("ab-4") == []


def test_a_workflow_of_a_name_that_is_taken(fake, argo):
    assert argo.create(manifest(name="mine")) == "mine"
    with pytest.raises(ExistsError, match='"mine" already exists'):
        argo.create(manifest(name="mine"))


def test_a_workflow_is_ended_and_one_that_is_gone_is_as_good(fake, argo):
    name = argo.create(manifest())
    argo.end(name)
    argo.end(name)
    argo.end("a/b c")
    assert not fake.workflows
    assert [each.path for each in fake.asked[1:]] == [f"{PATH}/{name}"] * 2 + [f"{PATH}/a%2Fb%20c"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, RefusedError) for status in (400, 403, 404, 409)),
        *((status, UnreachableError) for status in (302, 429, 500, 503)),
    ],
)
def test_a_refusal_says_what_argo_says(fake, argo, status, error):
    fake.refusal = Refusal(status, "workflows.argoproj.io is forbidden:\n  no quota")
    with pytest.raises(error) as refused:
        argo.create(manifest())
    assert str(refused.value) == f"Argo at {fake.url} answered {status}: workflows.argoproj.io is forbidden: no quota"
    assert len(fake.asked) == 1


def test_a_list_that_is_refused_is_no_empty_one(fake, argo):
    fake.refusal = Refusal(404, "no such namespace")
    with pytest.raises(RefusedError):
        argo.find()


def test_a_lost_answer_leaves_a_workflow_that_is_found(fake, argo):
    fake.lost_answers = 1
    with pytest.raises(UnreachableError, match="cannot be reached"):
        argo.create(manifest())
    [found] = argo.find("ab-7")
    assert len(fake.created()) == 1
    assert found.name in fake.workflows


def test_an_argo_that_hangs_is_given_up(fake):
    fake.released.clear()
    argo = client(fake, argo_workflows_timeout=0.2)
    with pytest.raises(UnreachableError, match="timed out"):
        argo.create(manifest())
    fake.released.set()
    argo.close()


def test_an_argo_that_is_away_is_told_from_one_that_refuses(fake, argo):
    fake.stop()
    with pytest.raises(UnreachableError, match="cannot be reached"):
        argo.find()
    fake.start()
    assert argo.find() == []


@pytest.mark.parametrize("text", [b"<html>sign in</html>", b"[]", b'"yes"'])
def test_an_answer_that_is_none_of_argos(fake, argo, monkeypatch, text):
    monkeypatch.setattr(json, "dumps", lambda *_, **__: text.decode())
    with pytest.raises(UnreachableError, match="is it Argo's server"):
        argo.find()


def test_the_token_is_sent_and_told_to_nobody(fake, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    fake.token = TOKEN
    file = tmp_path / "token"
    file.write_text(f"Bearer {TOKEN}\n")
    for settings in ({"argo_workflows_token": TOKEN}, {"argo_workflows_token_file": file}):
        argo = client(fake, **settings)
        assert argo.find() == []
        # What repeats the request tells everybody what it was.
        fake.refusal = Refusal(403, f"not allowed: Authorization: Bearer {TOKEN}")
        with pytest.raises(RefusedError) as refused:
            argo.create(manifest())
        assert TOKEN not in str(refused.value)
        assert TOKEN not in repr(argo._settings)
        fake.refusal = None
        argo.close()
    assert TOKEN not in caplog.text


def test_a_token_that_is_renewed_counts_at_once(fake, tmp_path):
    file = tmp_path / "token"
    file.write_text("first")
    argo = client(fake, argo_workflows_token_file=file)
    for token in ("first", "second"):
        file.write_text(token)
        fake.token = token
        assert argo.find() == []
    fake.token = "third"
    with pytest.raises(RefusedError, match="401"):
        argo.find()
    argo.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Path, Path]]:
    """A file with an authority's certificate, and a certificate of loopback by it."""
    folder = tmp_path_factory.mktemp("argo")
    root = issuing.authority("cluster")
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    server = issuing.client(root, "argo-server", extra=[(names, False)])
    (folder / "ca.crt").write_bytes(root.pem)
    (folder / "server.crt").write_bytes(server.pem)
    (folder / "server.key").write_bytes(server.private)
    return folder / "ca.crt", (folder / "server.crt", folder / "server.key")


def test_tls_is_verified(authority, caplog):
    caplog.set_level(logging.DEBUG)
    ca, certificate = authority
    with FakeArgo(certificate=certificate) as fake:
        trusting = client(fake, argo_workflows_ca_cert=ca)
        assert trusting.create(manifest()) in fake.workflows
        strange = client(fake, argo_workflows_token=TOKEN)
        with pytest.raises(UnreachableError, match=r"(?i)certificate verify failed"):
            strange.create(manifest())
        assert len(fake.asked) == 1
        with capture_logs() as said:
            blind = client(fake, argo_workflows_verify=False)
        assert [each["event"] for each in said] == ["argo.unverified"]
        assert len(blind.find()) == 1
        for each in (trusting, strange, blind):
            each.close()


def test_authorities_that_are_renewed_are_read_again(authority, tmp_path):
    ca, certificate = authority
    file = tmp_path / "ca.crt"
    file.write_bytes(issuing.authority("before").pem)
    with FakeArgo(certificate=certificate) as fake:
        argo = client(fake, argo_workflows_ca_cert=file)
        with pytest.raises(UnreachableError, match=r"(?i)certificate verify failed"):
            argo.find()
        file.write_bytes(ca.read_bytes())
        assert argo.find() == []
        # Half of a renewal.
        file.write_text("")
        assert argo.find() == []
        argo.close()


def test_a_connection_is_tried_again_and_nothing_is_sent_twice(fake):
    fake.stop()
    argo = client(fake, argo_workflows_retries=4)
    starting = threading.Timer(0.3, fake.start)
    starting.start()
    name = argo.create(manifest())
    starting.join()
    assert [*fake.workflows] == [name]
    fake.lost_answers = 1
    with pytest.raises(UnreachableError):
        argo.create(manifest())
    assert len(fake.created()) == 2
    argo.close()
