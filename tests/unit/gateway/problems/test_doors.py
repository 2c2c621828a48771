"""Which hosts and pages a request may name."""

import pytest

from orchestrator.gateway.problems.edge import Doors

LOOPBACK = Doors.of("127.0.0.1:5001", True, (), ())
SHOWN = Doors.of("0.0.0.0:5001", False, ("problems.example", ".lab.example"), ("https://console.example",))


@pytest.mark.parametrize("host", ["127.0.0.1:5001", "localhost:5001", "LOCALHOST", "[::1]:5001"])
def test_a_loopback_address_is_called_by_its_own_names(host: str):
    assert LOOPBACK.problem({"host": host}) is None


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example:5001", "localhost:5001@evil", "10.0.0.1"])
def test_and_by_no_others(host: str):
    assert "host" in (LOOPBACK.problem({"host": host}) or "")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:5001", "HTTP://127.0.0.1:5001"])
def test_a_page_of_the_address_may_call_it(origin: str):
    assert LOOPBACK.problem({"host": "127.0.0.1:5001", "origin": origin}) is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:5000",
        "http://localhost:5001",
        "file://127.0.0.1:5001",
        "http://[",
        "",
    ],
)
def test_a_foreign_page_may_not(origin: str):
    assert LOOPBACK.problem({"host": "127.0.0.1:5001", "origin": origin}) is not None


def test_the_operator_adds_hosts_and_pages():
    assert SHOWN.problem({"host": "problems.example"}) is None
    assert SHOWN.problem({"host": "a.lab.example", "origin": "https://console.example"}) is None
    assert SHOWN.problem({"host": "example"}) is not None


def test_an_address_of_all_the_machine_has_any_name_where_none_is_set():
    assert Doors.of("0.0.0.0:5001", False, (), ()).problem({"host": "any.example"}) is None
    assert Doors.of("10.1.2.3:5001", False, (), ()).problem({"host": "any.example"}) is not None
