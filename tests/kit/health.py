"""What a process says of its health."""

import httpx

from tests.kit.waiting import wait_until


def asked(address: str, path: str) -> tuple[int, str]:
    """Return the status and the words of an answer; 0 where nobody answers."""
    try:
        answer = httpx.get(f"http://{address}{path}", timeout=30, trust_env=False)
    except httpx.TransportError as error:
        return 0, str(error)
    return answer.status_code, answer.json()["status"]


def await_ready(address: str, code: int = 200) -> str:
    """Wait until a process is ready, or is not; return its words.

    Args:
        address: host:port.
        code: the status to wait for.
    """

    def found() -> str | None:
        status, words = asked(address, "/ready")
        return words if status == code else None

    return wait_until(found, timeout=60, message=f"/ready to answer {code}")
