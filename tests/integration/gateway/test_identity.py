"""Who calls the HTTP API: certificates, tokens, and nothing at all."""

import uuid
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
from cryptography import x509

from orchestrator.access import tokens
from tests.kit.database import opened
from tests.kit.waiting import wait_until

from .served import HERE, THERE, Served


def refused(answer: httpx.Response, status: int, code: str, words: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told.keys() == {"code", "message"}
    assert told["code"] == code
    assert words in told["message"]


def test_a_certificate_lets_its_organization_in(served: Served, plan: str):
    with served.caller("org-2", channel=HERE) as caller:
        answer = caller.get(plan)
    assert answer.status_code == 200, answer.text
    assert answer.json()["key"] == plan.rpartition("/")[2]


def test_the_only_channel_of_an_organization_need_not_be_named(served: Served, plan: str):
    with served.caller("org-2") as caller:
        assert caller.get(plan).status_code == 200
    with served.caller("org-1") as caller:
        refused(caller.get(plan), 400, "OE0003", "2 to choose from")


def test_a_certificate_lets_nobody_in_elsewhere(served: Served, plan_there: str):
    with served.caller("org-2", channel=THERE) as caller:
        refused(caller.get(plan_there), 403, "OE0102", "'there'")
    with served.caller("org-2", mspid="org-1", channel=THERE) as caller:
        refused(caller.get(plan_there), 403, "OE0102", "'org-1'")
    with served.caller("org-3") as caller:
        refused(caller.get(plan_there), 403, "OE0102")


def test_an_asset_of_another_channel_does_not_exist(served: Served, plan_there: str):
    with served.caller("org-1", channel=HERE) as caller:
        refused(caller.get(plan_there), 404, "OE0002")
        refused(caller.get(f"/v1/tasks/{uuid.uuid4()}"), 404, "OE0002")
        refused(caller.get("/v1/tasks/none"), 400, "OE0101")


def test_a_certificate_that_is_denied_is_refused_on_a_connection_that_stands(served: Served, plan: str):
    serial = x509.load_pem_x509_certificate(served.layout.client("org-2").certificate.read_bytes()).serial_number
    with served.caller("org-2") as caller:
        assert caller.get(plan).status_code == 200
        served.deny("org-2", serial)
        try:
            wait_until(lambda: caller.get(plan).status_code == 403, 60, "the denial to count")
        finally:
            served.deny("org-2")
        wait_until(lambda: caller.get(plan).status_code == 200, 60, "the denial to be taken back")


def test_who_shows_nothing_is_asked_for_what_counts(served: Served, plan: str):
    with served.caller() as caller:
        answer = caller.get(plan)
    refused(answer, 401, "OE0202", "a bearer token in the header Authorization or a client certificate is needed")
    assert answer.headers["www-authenticate"] == 'Bearer realm="orchestrator"'


def test_a_token_lets_its_organization_into_its_channels(served: Served, plan: str, plan_there: str):
    token = served.token("org-1", HERE)
    with served.caller(token=token) as caller:
        assert caller.get(plan).status_code == 200
        refused(caller.get(plan, headers={"channel": THERE}), 403, "OE0102", "'there'")
        refused(caller.get(plan_there), 404, "OE0002")
        refused(caller.get(plan, headers={"mspid": "org-2"}), 403, "OE0102", "'org-2'")
    with served.caller(token=served.token("org-1", HERE, THERE), channel=THERE) as caller:
        assert caller.get(plan_there).status_code == 200


def test_a_token_opens_no_channel_that_is_closed_to_its_organization(served: Served, plan_there: str):
    with served.caller(token=served.token("org-2", THERE)) as caller:
        refused(caller.get(plan_there), 403, "OE0102", "not open to organization 'org-2'")


def test_a_token_that_is_revoked_is_refused_at_once(served: Served, plan: str):
    token, other = served.token("org-1", HERE), served.token("org-1", HERE)
    name = token.split("_")[1]
    with served.caller(token=token) as caller, served.caller(token=other) as untouched:
        assert caller.get(plan).status_code == 200
        with opened(served.database) as database, database.begin() as connection:
            tokens.revoke(connection, name, datetime.now(UTC))
        answer = caller.get(plan)
        refused(answer, 401, "OE0202", "was revoked")
        assert answer.headers["www-authenticate"]
        assert untouched.get(plan).status_code == 200


def test_a_token_that_has_ended_is_refused(served: Served, plan: str):
    token = served.token("org-1", HERE)
    with served.caller(token=token) as caller, psycopg.connect(served.database) as connection:
        assert caller.get(plan).status_code == 200
        ended = "UPDATE tokens SET ends_at = %s WHERE id = %s"
        connection.execute(ended, (datetime.now(UTC), token.split("_")[1]))
        connection.commit()
        refused(caller.get(plan), 401, "OE0202", "ended at")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(served: Served, plan: str, scheme: str):
    token = served.token("org-1", HERE)
    with served.caller(authorization=f"{scheme} {token}") as caller:
        assert caller.get(plan).status_code == 200


@pytest.mark.parametrize("given", ["Bearer", "Bearer x", "Basic b3JnOnB3", "Bearer orc_00_00", "Bearer \xff"])
def test_what_is_no_token_is_refused_whatever_certificate_is_shown(served: Served, plan: str, given: str):
    with served.caller("org-2", authorization=given.encode("latin-1")) as caller:  # type: ignore[arg-type]
        refused(caller.get(plan), 401, "OE0202")


def test_a_token_with_another_s_secret_is_refused(served: Served, plan: str):
    one, other = (served.token("org-1", HERE).split("_") for _ in range(2))
    with served.caller(token=f"orc_{one[1]}_{other[2]}") as caller:
        refused(caller.get(plan), 401, "OE0202", "not one of this orchestrator's")


def test_headers_that_are_given_twice_are_refused(served: Served, plan: str):
    with served.caller("org-1") as caller:
        answer = caller.get(plan, headers=[("channel", HERE), ("channel", THERE)])
        refused(answer, 400, "OE0003", "the header channel is given 2 times")


def test_the_secret_is_neither_in_the_database_nor_in_the_log(served: Served, plan: str):
    token = served.token("org-1", HERE)
    secret = token.split("_")[2]
    with served.caller(token=token) as caller:
        assert caller.get(plan).status_code == 200
    with psycopg.connect(served.database) as connection:
        rows = connection.execute("SELECT CAST(tokens AS text) FROM tokens").fetchall()
    assert not any(secret in row[0] or secret.encode().hex() in row[0] for row in rows)
    assert secret not in served.log


def test_who_needs_no_identity_finds_no_api_beside_health(served: Served, plan: str):
    with httpx.Client(base_url=f"http://{served.http}", timeout=60) as http:
        assert http.get("/health").status_code == 200
        assert http.get(plan).status_code == 404
    with served.caller("org-2") as caller:
        assert caller.get("/metrics").status_code == 404
        assert caller.post(plan).status_code == 405
