"""Whoever looks for its orchestrator on this machine finds it again where another is started, or the first one."""

from dataclasses import replace
from pathlib import Path

import pytest
from orchestrator_modules.front.service import Service, ServiceError

from orchestrator import protos as pb
from tests.kit.modules import Modules
from tests.kit.proxy import Proxy
from tests.kit.waiting import wait_until


def tell(modules: Modules, folder: Path, proxy: Proxy) -> None:
    """Tell whoever looks into a folder that the orchestrator is behind a proxy."""
    replace(modules.federation.running, address=f"127.0.0.1:{proxy.port}").write(folder)


def test_a_module_follows_its_orchestrator(modules: Modules, tmp_path: Path) -> None:
    port = int(modules.federation.running.address.rpartition(":")[2])
    with Proxy(port) as after:
        with Proxy(port) as before:
            tell(modules, tmp_path, before)
            module = modules.started("HW_CONSTRAINTS", "moving", ORCHESTRATOR_DATA=str(tmp_path))
        tell(modules, tmp_path, after)
        wait_until(lambda: "orchestrator.moved" in module.said(), 30)
        # The other replica waits until this one has done a stage.
        modules.say("HW_CONSTRAINTS", "until:moving")
        for task in [modules.submit() for _ in range(3)]:
            assert modules.ended(task).state == pb.STAGE_SUCCEEDED
        assert module.end() == 0


def test_a_front_end_may_be_there_before_its_orchestrator(
    modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATA", str(tmp_path))
    monkeypatch.delenv("ORCHESTRATOR_PROBLEMS_URL", raising=False)
    service = Service()
    try:
        assert service.root == "http://127.0.0.1:5001"
        modules.federation.running.write(tmp_path)
        assert set(service.call("GET", "/status")) == {"status"}
        monkeypatch.setenv("ORCHESTRATOR_PROBLEMS_URL", "https://127.0.0.1:9")
        (tmp_path / "ca.crt").write_text("none")
        monkeypatch.setenv("ORCHESTRATOR_CLIENT_CA_CERT", str(tmp_path / "ca.crt"))
        with pytest.raises(ServiceError, match="certificates of ORCHESTRATOR_CLIENT_… cannot be used"):
            service.call("GET", "/status")
    finally:
        service.close()
