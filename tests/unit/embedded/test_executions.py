"""What a user's environment says of Argo and Kafka, as the runtime of a federation is told it."""

from pathlib import Path

from orchestrator.embedded.executions import of_environment


def test_only_what_concerns_argo_and_kafka_is_handed_on() -> None:
    given = {
        "ARGO_WORKFLOWS_API_HOST": "https://a",
        "ORCHESTRATOR_ARGO_WORKFLOWS_API_HOST": "https://b",
        "ORCHESTRATOR_KAFKA_TIMEOUT": "3",
        "KAFKA_PARTITIONS": "",
        "ORCHESTRATOR_ADDRESS": "elsewhere",
        "MY_KAFKA_TIMEOUT": "4",
    }
    assert of_environment(given) == {"ARGO_WORKFLOWS_API_HOST": "https://b", "KAFKA_TIMEOUT": "3"}


def test_files_are_found_from_any_folder() -> None:
    files = ("ARGO_WORKFLOWS_TOKEN_FILE", "ARGO_WORKFLOWS_CA_CERT", "KAFKA_CLIENT_CONFIG")
    assert of_environment(dict.fromkeys(files, "here/file")) == dict.fromkeys(files, str(Path("here/file").absolute()))
