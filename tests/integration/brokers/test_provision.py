"""The command `orchestrator broker provision`: what it keeps, what it says, and what it leaves alone."""

import stat
import subprocess
from urllib.parse import urlsplit

import amqp
import kombu.exceptions
import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.broker import credentials, provision
from orchestrator.broker.rabbitmq_accounts import RabbitMQError
from orchestrator.core import pokes
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.processes import Process
from orchestrator.embedded.valkey import find_binary
from orchestrator.settings import read_broker_urls
from tests.kit.brokers.accounts import Broker, Provisioned, connected, elsewhere, receive, send
from tests.kit.brokers.rabbitmq import RabbitMQ

# The first test of RabbitMQ installs it where it is missing.
pytestmark = pytest.mark.timeout(600)

REFUSALS = (kombu.exceptions.OperationalError, redis.exceptions.RedisError, amqp.exceptions.AMQPError)


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0))


def test_accounts_stay_as_they_are_when_they_are_set_up_again(broker: Provisioned) -> None:
    before = broker.file.read_text()
    send(broker.writing("a"), "a", "still there")
    again = broker.broker.provision("--org", "a", "--output", str(broker.file))
    assert again.returncode == 0, again.stderr
    assert broker.file.read_text() == before
    assert receive(broker.url("a"), "a") == {"task": "still there", "attempt": 1}


def test_the_file_is_private_and_what_the_server_wants(broker: Provisioned) -> None:
    assert stat.S_IMODE(broker.file.stat().st_mode) == 0o600
    assert read_broker_urls(broker.file) == {organization: broker.writing(organization) for organization in "ab"}
    passwords = broker.credentials.passwords
    assert set(passwords) - {"relay"} == {"org.a", "org.b", "maintenance", "flower"}
    assert len(set(passwords.values())) == len(passwords)
    assert all(len(password) >= 32 for password in passwords.values())
    for organization in ("a", "b"):
        assert urlsplit(broker.url(organization)).username == f"org.{organization}"


def test_a_new_organization_is_added_to_the_others_and_says_no_password(on_valkey: Provisioned, tmp_path) -> None:
    file = tmp_path / "brokers.yaml"
    file.write_text(on_valkey.file.read_text())
    done = on_valkey.broker.provision("--org", "c d*", "--output", str(file))
    assert done.returncode == 0, done.stderr
    made = credentials.read(file)
    assert made is not None
    assert {**on_valkey.credentials.organizations, "c d*": made.organizations["c d*"]} == made.organizations
    assert not [password for password in made.passwords.values() if password in done.stdout + done.stderr]
    send(made.relay["c d*"], "c d*", "x")
    with pytest.raises(REFUSALS):
        receive(made.organizations["c d*"], "a")
    assert receive(made.organizations["c d*"], "c d*") == {"task": "x", "attempt": 1}
    with client(on_valkey.broker.url) as administrator:
        administrator.acl_deluser(pokes.account("c d*"))


def test_another_file_is_left_alone(on_valkey: Provisioned, tmp_path) -> None:
    file = tmp_path / "thesis.yaml"
    for content in ("years of work", "{unfinished: ", "organizations: [a]"):
        file.write_text(content)
        done = on_valkey.broker.provision("--org", "a", "--output", str(file))
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: {file} was not written by")
        assert file.read_text() == content


def test_somebody_must_be_named(on_valkey: Provisioned, tmp_path) -> None:
    done = on_valkey.broker.provision("--output", str(tmp_path / "new.yaml"))
    assert done.returncode == 2
    assert "--org" in done.stderr


def test_a_broker_that_is_away_is_told_in_one_line(on_valkey: Provisioned) -> None:
    password = urlsplit(on_valkey.broker.url).password or ""
    done = on_valkey.broker.provision("--org", "a", url=f"redis://:{password}@{HOST}:{free_port()}/0")
    assert done.returncode == 3
    assert done.stderr.startswith("Error: the broker of ORCHESTRATOR_BROKER_URL did not take the accounts")
    assert done.stderr.count("\n") == 1
    assert password not in done.stderr


def test_without_a_file_the_urls_are_printed_and_a_broker_that_forgets_is_named(tmp_path) -> None:
    port = free_port()
    server = Process(
        "valkey", [str(find_binary()), "--port", str(port), "--bind", HOST, "--save", ""], log=tmp_path / "log"
    )
    url = f"redis://{HOST}:{port}/2"

    def answers() -> bool:
        try:
            with client(url) as connection:
                return bool(connection.ping())
        except redis.ConnectionError:
            return False

    server.start()
    try:
        server.wait_ready(answers)
        done = Broker(url, (), {}).provision("--org", "a", "--address", f"localhost:{port}")
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    printed = yaml.safe_load(done.stdout)
    assert set(printed) == {"organizations", "relay", "maintenance", "flower"}
    assert printed["organizations"]["a"].endswith(f"@localhost:{port}/2")
    assert "forgets these accounts when it restarts" in done.stderr


def test_the_management_api_does_the_same_as_rabbitmqctl(
    on_rabbitmq: Provisioned, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy"):
        # A company's, which knows nothing of our machines.
        monkeypatch.setenv(name, f"http://{HOST}:{free_port()}")
    made = credentials.make(rabbitmq.url, ["over-http"])
    provision.provision(rabbitmq.url, made, management_url=rabbitmq.management_url)
    url = made.organizations["over-http"]
    send(url, "over-http", "x")
    assert receive(url, "over-http") == {"task": "x", "attempt": 1}
    with pytest.raises(REFUSALS):
        connected(elsewhere(url, "b"))
    # It has set the passwords of Flower and the maintenance worker anew.
    provision.provision(rabbitmq.url, on_rabbitmq.credentials, management_url=rabbitmq.management_url)
    connected(elsewhere(on_rabbitmq.credentials.flower, "b"))


def test_a_rabbitmq_that_refuses_or_is_away_is_told(rabbitmq: RabbitMQ) -> None:
    made = credentials.make(rabbitmq.url, ["a"])
    stranger = f"amqp://admin:wrong@{urlsplit(rabbitmq.url).netloc.rpartition('@')[2]}"
    with pytest.raises(RabbitMQError, match="answers 401"):
        provision.provision(stranger, made, management_url=rabbitmq.management_url)
    with pytest.raises(RabbitMQError, match="cannot be reached"):
        provision.provision(rabbitmq.url, made, management_url=f"http://{HOST}:{free_port()}")
    with pytest.raises(RabbitMQError, match="there is no nowhere/rabbitmqctl here"):
        provision.provision(rabbitmq.url, made, rabbitmqctl="nowhere/rabbitmqctl")


def test_rabbitmqctl_that_fails_is_told_with_its_last_line(rabbitmq: RabbitMQ, on_rabbitmq: Provisioned) -> None:
    lost = Broker(
        rabbitmq.url, on_rabbitmq.broker.provisioning, {**rabbitmq.environment, "RABBITMQ_NODENAME": "x@localhost"}
    )
    done: subprocess.CompletedProcess[str] = lost.provision("--org", "a")
    assert done.returncode == 3
    assert done.stderr.startswith("Error: the broker did not take the accounts: ")
    assert done.stderr.count("\n") == 1
