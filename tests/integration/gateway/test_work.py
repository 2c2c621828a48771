"""What an organization's workers have to do, as a scaler asks for it: with a certificate, and no header."""

import uuid

from orchestrator import protos as pb

from .served import HERE, THERE, Served


def test_a_scaler_is_told_of_all_channels_what_is_to_do_and_what_is_done(served: Served, plan_there: str):
    with served.caller("org-1") as caller:

        def asked(channel: str) -> dict[str, int]:
            answer = caller.get(f"/v1/work?channel={channel}")
            assert answer.status_code == 200, answer.text
            return answer.json()

        assert caller.get("/v1/work").status_code == 400
        before = asked(HERE)
        with served.client("org-1", THERE) as client:
            client.register(new_function())
            client.worker.Heartbeat(
                pb.HeartbeatParam(
                    node="scaled",
                    queue="org.org-1",
                    slots=2,
                    attempts=[pb.Attempt(compute_task_key=str(uuid.uuid4()), number=1, token="none")],
                )
            )
        for channel in (HERE, THERE):
            now = asked(channel)
            assert (now["to_do"], now["doing"]) == (before["to_do"] + 1, before["doing"] + 1)
            assert now["open"] == now["to_do"] + now["doing"]
    with served.caller("org-2") as other:
        assert other.get("/v1/work").json()["doing"] == 0


def new_function() -> pb.NewFunction:
    address = pb.Addressable(checksum="0" * 64, storage_address="https://store.example/f")
    return pb.NewFunction(
        key=str(uuid.uuid4()),
        name="to build",
        description=address,
        archive=address,
        new_permissions=pb.NewPermissions(),
        outputs={"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)},
    )
