"""Executions where callers are known: who may read, report and delete what, and URLs that lead back over TLS.

org-1 runs executions, org-2 and org-4 are data partners, org-5 is a portal.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from orchestrator.access import tokens
from orchestrator.calls.gate import VISIT_SECONDS
from tests.kit.database import opened
from tests.kit.portal import new_execution, new_schema, partner
from tests.kit.waiting import wait_until

from .served import HERE, Served


def created(caller: httpx.Client, path: str, data: Any, files: dict[str, bytes]) -> dict[str, Any]:
    parts = [("data", (None, json.dumps(data))), *((name, (name, content)) for name, content in files.items())]
    answer = caller.post(path, files=parts)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_what_was_sent_for_a_partner_is_for_it_and_for_who_runs_executions(served: Served):
    with served.caller("org-2") as caller:
        new = new_schema(inputs={"platform_data": True, "federated_learning_configuration": True})
        schema = created(caller, "/api/schemas/", new, {"auxiliary_file": b"a: b"})
        data, files = new_execution(schema)
        data["input_elements"]["platform_data"] = {
            "data_partners_patients": {"org-2": partner("p-1"), "org-3": partner("p-2")}
        }
        execution = created(caller, "/api/executions/", data, files)
        assert execution["url"].startswith(f"https://{served.api}/")
        url = f"{execution['url']}retrieve_data_partner_information/"
        assert caller.get(url, params={"data_partner": "org-2"}).json() == partner("p-1")
        answer = caller.get(url, params={"data_partner": "org-3"})
        assert answer.status_code == 403
        assert answer.json() == {"detail": "org-2 may not read what was sent for others"}
    with served.caller(token=served.token("org-1", HERE)) as caller:
        assert caller.get(url, params={"data_partner": "org-3"}).json() == partner("p-2")
    with served.caller(token=served.token("org-2", HERE)) as caller:
        assert caller.get(url, params={"data_partner": "org-3"}).status_code == 403


def test_who_is_not_known_any_more_sends_no_more_files(served: Served):
    token = served.token("org-2", HERE)
    host, _, port = served.api.rpartition(":")
    head = (
        f"POST /api/executions/ HTTP/1.1\r\nHost: {served.api}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {2**30}\r\n\r\n"
    )
    part = b'--b\r\nContent-Disposition: form-data; name="auxiliary_file"; filename="f"\r\n\r\n'
    with (
        socket.create_connection((host, int(port)), timeout=60) as plain,
        served.context().wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(head.encode() + part)
        staging = served.folder / "media" / ".incoming"
        wait_until(lambda: [*staging.rglob("*")], 60, "the file to be begun")
        begin = time.monotonic()
        with opened(served.database) as database, database.begin() as tokens_of:
            tokens.revoke(tokens_of, token.split("_")[1], datetime.now(UTC))
        wait_until(lambda: time.monotonic() - begin > VISIT_SECONDS, 60, "the end of the visit")
        connection.sendall(b"more of it")
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")
        wait_until(lambda: not [*staging.rglob("*")], 60, "what came to be gone")


def started(caller: httpx.Client, *partners: str, **inputs: bool) -> dict[str, Any]:
    """Store a schema, and start an execution of it for data partners."""
    new = new_schema(inputs={"platform_data": bool(partners), **inputs})
    schema = created(caller, "/api/schemas/", new, {"auxiliary_file": b"a: b"})
    data, files = new_execution(schema)
    if partners:
        given = {name: partner("p-1") for name in partners}
        data["input_elements"]["platform_data"] = {"data_partners_patients": given}
    return created(caller, "/api/executions/", data, files)


@contextmanager
def known(served: Served, kind: str, organization: str) -> Iterator[httpx.Client]:
    """Call as an organization, which shows a token or a certificate."""
    shown: dict[str, Any] = {"channel": HERE, "organization": organization}
    if kind == "token":
        shown = {"token": served.token(organization, HERE)}
    with served.caller(**shown) as caller:
        yield caller


@pytest.mark.parametrize("kind", ["token", "certificate"])
def test_only_who_takes_part_reads_files_and_reports_and_only_who_started_deletes(served: Served, kind: str):
    with known(served, "token", "org-5") as portal:
        here, elsewhere = (
            started(portal, name, external_data=True, report_metadata=True) for name in ("org-2", "org-4")
        )
        may = [("org-1", here), ("org-1", elsewhere), ("org-2", here)]
        may_not = [("org-2", elsewhere)]
        if kind == "token":
            # Nobody has certificates of the others.
            may += [("org-4", elsewhere), ("org-5", here), ("org-5", elsewhere)]
            may_not += [("org-4", here)]
        for organization, execution in may:
            with known(served, kind, organization) as caller:
                assert [each.status_code for each in tried(caller, execution)] == [200, 200, 200, 400, 400]
        for organization, execution in may_not:
            with known(served, kind, organization) as caller:
                answers = tried(caller, execution)
                # A body comes before all else, as the contract has it.
                assert [each.status_code for each in answers] == [403, 403, 403, 403, 400]
                assert answers[2].json()["detail"].startswith(f"{organization} may not report of execution ")
                assert caller.get(execution["url"]).status_code == 200
                parts = {"data": (None, json.dumps({"message": "m"}))}
                cancelled = caller.patch(f"{execution['url']}update_to_failed/", params={"cancel": "true"}, files=parts)
                assert cancelled.status_code == 403
        for organization in ("org-2", "org-4") if kind == "token" else ("org-2",):
            with known(served, kind, organization) as caller:
                gone = [caller.delete(each[name]) for each in (here, elsewhere) for name in ("url", "schema")]
                assert [each.status_code for each in gone] == [403] * 4
        assert [portal.get(each["url"]).json()["state"]["status"] for each in (here, elsewhere)] == ["running"] * 2
        with known(served, kind, "org-1") as central:
            assert central.delete(here["url"]).status_code == 204
        assert [portal.delete(each["schema"]).status_code for each in (here, elsewhere)] == [204, 204]


def tried(caller: httpx.Client, execution: dict[str, Any]) -> list[httpx.Response]:
    """Read the files of an execution, report that it runs, and report what cannot be."""
    wrong: dict[str, Any] = {"data": (None, json.dumps({"message": ""}))}
    model: dict[str, Any] = {"data": (None, json.dumps({"ai_model": {"ai_model": 11}}))}
    url = execution["url"]
    return [
        caller.get(f"{url}download_external_data/"),
        caller.get(f"{url}download_report_metadata/"),
        caller.patch(f"{url}update_to_running/"),
        caller.patch(f"{url}update_to_succeeded/", files=model),
        caller.patch(f"{url}update_to_failed/", files=wrong),
    ]


def test_a_schema_is_not_deleted_with_what_others_have_started(served: Served):
    with known(served, "token", "org-5") as portal, known(served, "token", "org-2") as other:
        mine = started(portal)
        theirs = created(other, "/api/executions/", *new_execution(portal.get(mine["schema"]).json()))
        assert portal.delete(mine["schema"]).status_code == 403
        assert portal.get(mine["url"]).status_code == portal.get(theirs["url"]).status_code == 200
        assert other.delete(theirs["url"]).status_code == 204
        assert portal.delete(mine["schema"]).status_code == 204
