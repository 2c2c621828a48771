"""What the model hub and the language model are asked, and what is made of what they say."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.embedded.ports import free_port
from orchestrator.gateway.problems.hub import Hub
from orchestrator.gateway.problems.settings import ProblemsHttpSettings

INFO = {
    "library_name": "transformers",
    "cardData": {"license": "mit", "language": ["en", "es"]},
    "config": {"architectures": ["Bert"]},
}


class Outside(BaseHTTPRequestHandler):
    """A hub with one model, and a language model that says what it is told to."""

    said: Any = None
    asked: Any = None

    def do_GET(self) -> None:
        known = self.path == "/api/models/lab/model"
        self._answer(200 if known else 404, INFO if known else {"error": "no such model"})

    def do_POST(self) -> None:
        Outside.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(200, {"choices": [{"message": {"content": Outside.said}}]})

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Outside) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Hub(ProblemsHttpSettings(model_hub_address=f"{url}/api/models", language_model_address=f"{url}/chat"))
        server.shutdown()


def test_each_model_has_the_code_and_the_object_of_the_hub(hub: Hub):
    found = asyncio.run(hub.infos(["lab/model", "../secret", "x?y"]))
    assert found["models"][0] == {"model_id": "lab/model", "status": 200, "info": INFO}
    assert [each["status"] for each in found["models"][1:]] == [404, 404]
    assert [each["model_id"] for each in found["errors"]] == ["../secret", "x?y"]


def test_a_hub_that_is_away_is_0_and_an_error():
    away = Hub(ProblemsHttpSettings(model_hub_address=f"http://127.0.0.1:{free_port()}/"))
    (found,) = asyncio.run(away.infos(["m"]))["models"]
    assert (found["status"], found["info"], bool(found["error"])) == (0, None, True)


def test_models_are_compared_with_a_card_and_a_row_for_each(hub: Hub):
    Outside.said = "```json\n" + json.dumps(
        {"comparison_summary": "s", "model_cards": [{"model_id": "b", "purpose": "p", "best_for": ["x"]}]}
    )
    models = [
        {"model_id": "a", "info": INFO},
        {"model_id": "b", "info": None},
        *({"model_id": str(n)} for n in range(9)),
    ]
    found = asyncio.run(hub.compare(models))
    assert found["comparison_summary"] == "s"
    assert found["model_cards"][:2] == [
        {"model_id": "a", "purpose": "", "best_for": [], "watch_out_for": []},
        {"model_id": "b", "purpose": "p", "best_for": ["x"], "watch_out_for": []},
    ]
    assert found["comparison_table"][0] == {
        "model_id": "a",
        "license": "mit",
        "model_family": "transformers",
        "architectures": "Bert",
        "languages": "en, es",
    }
    assert len(found["model_cards"]) == len(found["comparison_table"]) == 5
    assert "lab" not in Outside.asked["model"]


@pytest.mark.parametrize("said", ["no JSON", "[]", None])
def test_a_language_model_that_says_no_object_is_an_error(hub: Hub, said: Any):
    Outside.said = said
    with pytest.raises(ValueError, match="object"):
        asyncio.run(hub.compare([{"model_id": "a"}]))
