import pytest
from pydantic import ValidationError

from orchestrator.broker.settings import FlowerSettings
from orchestrator.core.settings_errors import explain
from orchestrator.settings import ServerSettings, read_broker_urls, read_channels

URL = "postgresql://user:secret@localhost/db"


@pytest.fixture
def channels(tmp_path):
    file = tmp_path / "channels.yaml"
    file.write_text("channels: {hospitals: [a, b]}\n")
    return file


@pytest.fixture
def environment(monkeypatch, channels):
    """The least that is needed, and a way to set more."""

    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)

    change(DATABASE_URL=URL, CHANNEL_CONFIG=str(channels))
    return change


def refusal():
    with pytest.raises(ValidationError) as caught:
        ServerSettings()
    line = explain(caught.value, ServerSettings)
    assert "\n" not in line
    assert "secret" not in line
    return line


def test_database_and_channels_are_enough(environment):
    settings = ServerSettings()
    assert read_channels(settings.channel_config) == {"hospitals": {"a", "b"}}
    assert (settings.grpc_address, settings.http_address) == ("0.0.0.0:9000", "0.0.0.0:8484")
    assert settings.broker_url is None
    assert not settings.tls_enabled


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1m30s", 90), ("1.5h", 5400), ("90d", 7_776_000), ("3", 3), ("250us", 0.00025)],
)
def test_durations_are_read_as_existing_networks_write_them(environment, text, seconds):
    environment(TX_RETRY_BUDGET=text, GRPC_KEEPALIVE_POLICY_MIN_TIME=text)
    settings = ServerSettings()
    assert settings.tx_retry_budget == pytest.approx(seconds)
    assert settings.grpc_keepalive_policy_min_time == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://user:secret@host/db"),
        ("CHANNEL_CONFIG", "/nowhere/secret.yaml"),
        ("GRPC_ADDRESS", "secret"),
        ("HTTP_ADDRESS", "host:99999"),
        ("TX_RETRY_BUDGET", "5 parsecs"),
        ("LOG_LEVEL", "LOUD"),
        ("TLS_ENABLED", "perhaps"),
        ("REPLAY_EVENTS_BATCH_SIZE", "0"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_expected(environment, variable, value):
    environment(**{variable: value})
    assert refusal().startswith(f"ORCHESTRATOR_{variable} is wrong: expected ")


def test_a_missing_setting_is_named_with_what_is_expected(environment, monkeypatch):
    monkeypatch.delenv("ORCHESTRATOR_DATABASE_URL")
    assert refusal().startswith("ORCHESTRATOR_DATABASE_URL is missing: expected the URL of the database")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", 1),
        ("channels: {}", 1),
        ("channels: [a]", 1),
        ("channels: {a: b}", 1),
        ("- x", 1),
        ("channels:\n  a: [0123, org-1]", 2),
        ("channels:\n  a:\n    - org-1\n    - {a: b}", 4),
        ("channels:\n  a: [org-1]\n  b: [org-2]\n  a: [org-3]", 4),
        ("channels: {a: [x]}\nchannels: {a: [y]}", 2),
        ("channels:\n  no: [org-1]", 2),
        ("channels:\n  a: [true]", 2),
        ("channels:\n  a: ['']", 2),
        ("channels:\n  a: [~]", 2),
        ("channels:\n  a: [2026-01-01]", 2),
        ("channels:\n  ? [a]\n  : [org-1]", 2),
        ("channels:\n  <<: {a: [org-1]}", 2),
        ("channels:\n  a: [org-1", 2),
        ("channels: {a: [x]}\n---\nchannels: {a: [y]}", 2),
        ("channels:\n\ta: [x]", 2),
    ],
)
def test_channels_of_another_shape_are_refused_with_the_line(environment, channels, content, line):
    channels.write_text(content)
    said = refusal()
    assert said.startswith("ORCHESTRATOR_CHANNEL_CONFIG is wrong: expected a YAML file")
    assert f"{channels}, line {line}: " in said


@pytest.mark.parametrize("content", ["[" * 5000, "channels: &a [*a]", "channels: &a {x: *a}", "\x00", "a: *b"])
def test_channels_that_are_hardly_yaml_are_refused(environment, channels, content):
    channels.write_text(content)
    assert refusal().startswith("ORCHESTRATOR_CHANNEL_CONFIG is wrong: expected a YAML file")


def test_text_may_be_quoted_and_listed_as_one_likes(environment, channels):
    channels.write_text("channels:\n  '0123':\n  - \"0123\"\n  - org-1\n  other: &all [a, a]\n  third: *all\n")
    assert read_channels(ServerSettings().channel_config) == {
        "0123": {"0123", "org-1"},
        "other": {"a"},
        "third": {"a"},
    }


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"TLS_ENABLED": "true"}, "ORCHESTRATOR_TLS_CERT_PATH is missing"),
        ({"MTLS_ENABLED": "true"}, "ORCHESTRATOR_TLS_ENABLED is wrong"),
        ({"VERIFY_CLIENT_MSP_ID": "true"}, "ORCHESTRATOR_MTLS_ENABLED is wrong"),
        ({"API_IDENTITY": "password"}, "ORCHESTRATOR_API_IDENTITY is wrong"),
        ({"API_IDENTITY": "token"}, "ORCHESTRATOR_API_ADDRESS is missing"),
        ({"API_IDENTITY": "token,open", "API_ORGANIZATION": "org-1"}, "ORCHESTRATOR_API_CHANNEL is missing"),
        ({"API_IDENTITY": "certificate", "API_ADDRESS": "[::1]:1"}, "ORCHESTRATOR_VERIFY_CLIENT_MSP_ID is wrong"),
    ],
)
def test_settings_that_belong_together_are_asked_for(environment, variables, named):
    environment(**variables)
    assert refusal().startswith(named)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1"])
def test_the_api_may_be_served_beside_health_on_a_loopback_address(environment, address):
    environment(API_IDENTITY="token", HTTP_ADDRESS=address)
    settings = ServerSettings()
    assert settings.api_identity == ("token",)
    assert settings.api_warnings == []


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "orchestrator.example:1"])
def test_what_others_can_reach_is_warned_of(environment, address):
    environment(API_IDENTITY="token", API_ADDRESS=address)
    assert [warning.partition(",")[0] for warning in ServerSettings().api_warnings] == [
        "tokens and answers travel without TLS"
    ]
    environment(API_IDENTITY="open", API_ORGANIZATION="org-1", API_CHANNEL="channel")
    assert ServerSettings().api_warnings[0] == "whoever reaches it acts for org-1 in channel"


def test_organizations_may_have_a_broker_of_their_own(environment, tmp_path):
    assert not ServerSettings().dispatches
    file = tmp_path / "brokers.yaml"
    file.write_text("organizations: {a: 'redis://a:secret@host/0'}\nmaintenance: redis://m:secret@host/0\n")
    environment(BROKER_URLS=str(file))
    settings = ServerSettings()
    assert read_broker_urls(file) == {"a": "redis://a:secret@host/0"}
    assert settings.dispatches
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "secret",
        "organizations: {}",
        "organizations: [secret]",
        "organizations: {a: 1}",
        "organizations: {a: secret}",
        "organizations: {a: 'redis://a:secret@host",
        "organizations: {a: 'ftp://a:secret@host/0'}",
        "queues: {q: 'redis://q:secret@host;memory://secret'}\norganizations: {a: 'redis://host'}",
    ],
)
def test_broker_urls_of_another_shape_are_refused_and_not_shown(environment, tmp_path, content):
    file = tmp_path / "brokers.yaml"
    file.write_text(content)
    environment(BROKER_URLS=str(file))
    assert refusal().startswith("ORCHESTRATOR_BROKER_URLS is wrong: expected a YAML file")


@pytest.mark.parametrize("url", ["ftp://host", "secret@host", "redis:/host", "http://host", "memory://x"])
@pytest.mark.parametrize("of", [ServerSettings, FlowerSettings])
def test_what_is_no_broker_is_refused_and_not_shown(environment, url, of):
    environment(BROKER_URL=url)
    with pytest.raises(ValidationError) as refused:
        of()
    assert "the URL of a broker is expected here, as in redis://" in str(refused.value)
    assert url not in explain(refused.value, of)


@pytest.mark.parametrize(
    "url", ["redis://host", "rediss://:p@host:6379/0", "valkey://host", "amqps://u:p@host/v", "redis://a;redis://b"]
)
def test_brokers_of_all_kinds_are_taken(environment, url):
    environment(BROKER_URL=url)
    assert FlowerSettings().broker_url.get_secret_value() == url


def test_flower_is_told_its_organizations(environment):
    environment(BROKER_URL="redis://host")
    assert FlowerSettings().organizations == ()
    environment(ORGANIZATIONS="a, b")
    assert FlowerSettings().organizations == ("a", "b")
