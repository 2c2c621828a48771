"""What is wrong is refused, or fails with a report that says why; the rest of the network goes on."""

import io
import tarfile

import pytest

from orchestrator import protos as pb
from orchestrator.client import CallError
from tests.acceptance.conftest import TIME_LIMIT_SECONDS
from tests.kit.functions import DOCKERFILE, READS, WORKS, packed

MODEL_INPUT = {"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True, optional=True)}


@pytest.fixture(scope="module")
def works(network):
    """A function that works, on either side."""
    return network.built(network.function(inputs=MODEL_INPUT))


@pytest.fixture(scope="module", autouse=True)
def the_network_goes_on(network, works):
    """After whatever the tests did, both organizations still run tasks; each test finds that of the one before it."""
    yield
    tasks = [network.task(works, worker=worker) for worker in ("org-a", "org-b")]
    assert [network.ended(task).status for task in tasks] == [pb.STATUS_DONE] * 2


def log_of(network, task: str) -> str:
    """Return a failed task's log, as its owner reads it from the asset store of its worker."""
    printed = network.command("task", "--data", str(network.federation.folder), "logs", task)
    assert printed.returncode == 0, printed.stderr
    return printed.stdout


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("print('what I did'); sys.exit(1)", "exited with code 1", id="exits-1"),
        pytest.param("raise RuntimeError('my own words')", "my own words", id="raises"),
        pytest.param("pass", "'model'", id="writes-no-output"),
        pytest.param("outputs['model'].mkdir()", "folder", id="writes-a-folder"),
        pytest.param("time.sleep(3600)", f"longer than {TIME_LIMIT_SECONDS} seconds", id="never-ends"),
        pytest.param(
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
            f"longer than {TIME_LIMIT_SECONDS} seconds",
            id="never-ends-and-ignores-TERM",
        ),
    ],
)
def test_a_faulty_function_fails_its_task_with_a_report_and_a_log(network, source, said):
    task = network.task(network.built(network.function(source)))
    assert network.ended(task).status == pb.STATUS_FAILED
    report = network.client("org-a").failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=task))
    assert report.error_type == pb.ERROR_TYPE_EXECUTION
    assert report.owner == "org-a"
    assert report.logs_address.storage_address.startswith(network.federation.places.store_url("org-a"))
    assert said in log_of(network, task)


def test_a_failure_is_shown_with_all_that_the_function_printed(network):
    task = network.task(network.built(network.function("print('out'); print('err', file=sys.stderr); sys.exit(3)")))
    network.ended(task)
    log = log_of(network, task)
    assert "out" in log
    assert "err" in log
    assert "exited with code 3" in log.splitlines()[-1]


def linked(archive: tarfile.TarFile) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    archive.addfile(link)


def named(name: str):
    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))

    return add


GOOD = {"Dockerfile": DOCKERFILE, "function.py": READS + WORKS}


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(packed(GOOD, named("../evil")), id="leaves-its-folder"),
        pytest.param(packed(GOOD, named("/tmp/evil")), id="absolute-path"),
        pytest.param(packed(GOOD, linked), id="link"),
        pytest.param(packed({"function.py": WORKS}), id="no-Dockerfile"),
        pytest.param(packed({**GOOD, "Dockerfile": "FROM x\nENTRYPOINT python3 function.py\n"}), id="shell-form"),
        pytest.param(b"this is no archive", id="no-archive"),
    ],
)
def test_a_bad_archive_fails_its_function_and_the_tasks_that_wait_for_it(network, archive):
    function = network.function(archive=archive)
    check_build_failed(network, function)


def test_an_archive_with_a_wrong_checksum_fails_its_function(network):
    check_build_failed(network, network.function(checksum="0" * 64))


def check_build_failed(network, function: pb.Function) -> None:
    assert network.built(function).status == pb.FUNCTION_STATUS_FAILED
    client = network.client("org-a")
    report = client.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=function.key))
    assert report.error_type == pb.ERROR_TYPE_BUILD
    assert report.asset_type == pb.FAILED_ASSET_FUNCTION
    assert report.HasField("logs_address")
    assert network.ended(network.task(function)).status == pb.STATUS_FAILED


def test_a_model_that_was_tampered_with_is_not_used(network, works):
    plan = network.client("org-a").plan("tampered")
    parent = plan.task(function=works, worker="org-a", outputs={"model": ("org-b",)})
    plan.submit()
    network.ended(parent.key)
    models = network.client("org-a").models
    asked = pb.GetComputeTaskModelsParam(compute_task_key=parent.key)
    (model,) = models.GetComputeTaskOutputModels(asked).models
    network.put("org-a", f"models/{model.key}", b"another model")
    child = network.task(works, worker="org-b", models=[model.key])
    assert network.ended(child).status == pb.STATUS_FAILED
    report = network.client("org-b").failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=child))
    assert report.error_type == pb.ERROR_TYPE_INTERNAL
    assert not report.HasField("logs_address")


def test_a_cycle_and_an_unknown_parent_are_refused(network, works):
    client = network.client("org-a")
    plan = client.plan("cycle")
    plan.submit()
    first, second = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

    def task(key: str, parent: str) -> pb.NewComputeTask:
        ref = pb.ParentTaskOutputRef(parent_task_key=parent, output_identifier="model")
        return pb.NewComputeTask(
            key=key,
            function_key=works.key,
            compute_plan_key=plan.key,
            worker="org-a",
            inputs=[pb.ComputeTaskInput(identifier="models", parent_task_output=ref)],
            outputs={"model": pb.NewComputeTaskOutput(permissions=pb.NewPermissions())},
        )

    with pytest.raises(CallError, match=r"OE0101.*cycle"):
        client.tasks.RegisterTasks(pb.RegisterTasksParam(tasks=[task(first, second), task(second, first)]))
    with pytest.raises(CallError, match=rf"OE0101.*{second} does not exist"):
        client.tasks.RegisterTasks(pb.RegisterTasksParam(tasks=[task(first, second)]))


def test_a_function_that_one_may_not_use_is_refused(network):
    private = network.built(network.function(users=pb.NewPermissions()))
    plan = network.client("org-b").plan("not mine")
    plan.task(function=private, worker="org-b", outputs={"model": ()})
    with pytest.raises(CallError, match=r"OE0102.*may not be used by org-b, only by org-a"):
        plan.submit()


def test_a_certificate_of_another_organization_is_refused(network):
    with pytest.raises(CallError, match=r"OE0102.*does not belong to organization 'org-a'"):
        network.client("org-a", certificates_of="org-b").organizations.GetAllOrganizations(
            pb.GetAllOrganizationsParam()
        )
