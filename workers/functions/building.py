"""The building of one function by its owner: fetched, verified, unpacked, prepared, then marked READY.

With an executor of this machine what is left of it is the environment of its requirements: each attempt unpacks the
archive afresh. What the building proves is that the archive is the registered one, safe, and can be made to run.
"""

from collections.abc import Callable

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import insist
from workers.assets.downloads import Downloads
from workers.assets.fetching import Fetcher
from workers.assets.store import AssetStore, Stored, url
from workers.channels import Channels
from workers.consent.policy import Consent
from workers.errors import AwayFault, Fault, InternalFault
from workers.executors import registry
from workers.folder import working_folder
from workers.functions import program
from workers.settings import WorkerSettings

log = structlog.get_logger()
_SHORT = 8

# That the orchestrator takes.
_LONGEST_REASON = 500


def build(
    settings: WorkerSettings, channels: Channels, key: str, described: Callable[[str], None] = lambda _: None
) -> None:
    """Build a function, or find that nothing is to do: it is safe to be poked twice, also at once.

    Args:
        settings: the worker's.
        channels: the organization's connections; the first that knows the function is used.
        key: of the function.
        described: called with what people call it.
    """
    try:
        client, function = channels.find(
            lambda client: insist(lambda: client.functions.GetFunction(pb.GetFunctionParam(key=key)))
        )
        described(f"{key[:_SHORT]} {function.name}")
        if function.owner != settings.organization:
            log.warning("function.not_ours", function=key, owner=function.owner)
            return
        if function.status == pb.FUNCTION_STATUS_WAITING:
            _apply(client, key, pb.FUNCTION_ACTION_BUILDING)
        elif function.status != pb.FUNCTION_STATUS_BUILDING:
            log.info("function.built_already", function=key, status=pb.FunctionStatus.Name(function.status))
            return
        _build(settings, channels, client, function)
    except grpc.RpcError as error:
        # Ordinary when another build was faster or the function was cancelled; else a later poke goes on.
        log.warning("function.not_built", function=key, reason=error.details())


def _build(settings: WorkerSettings, channels: Channels, client: Client, function: pb.Function) -> None:
    store = AssetStore(settings.store_root)
    with working_folder(settings.node_folder, function.key) as folder:
        unpacked = folder / "function"
        unpacked.mkdir()
        try:
            fetcher = Fetcher(settings, store, channels.peers[client], Downloads(settings))
            policy = Consent.of(settings).policy
            built = program.prepare(function, unpacked, fetcher, settings, registry.make(settings), policy)
            built.held.close()
        except AwayFault as fault:
            _delay(settings, client, function, fault, store)
            return
        except Fault as fault:
            _fail(settings, client, function, fault, store)
            return
        except OSError as error:
            internal = InternalFault(f"the worker could not unpack the function's archive: {error}")
            _fail(settings, client, function, internal, store)
            return
    try:
        _store_log(settings, function, "".join(f"{note}\n" for note in (*built.notes, "Built.")), store)
    except OSError as error:
        log.warning("function.log_not_stored", function=function.key, error=str(error))
    update = pb.UpdateFunctionParam(key=function.key, name=function.name, image=function.archive)
    insist(lambda: client.functions.UpdateFunction(update))
    _apply(client, function.key, pb.FUNCTION_ACTION_READY)
    log.info("function.built", function=function.key, notes=list(built.notes))


def _apply(client: Client, key: str, action: "pb.FunctionAction.ValueType") -> None:
    wanted = {
        pb.FUNCTION_ACTION_BUILDING: pb.FUNCTION_STATUS_BUILDING,
        pb.FUNCTION_ACTION_READY: pb.FUNCTION_STATUS_READY,
    }[action]
    param = pb.ApplyFunctionActionParam(function_key=key, action=action)
    _move(client, key, wanted, lambda: client.functions.ApplyFunctionAction(param))


def _move(client: Client, key: str, wanted: "pb.FunctionStatus.ValueType", call: Callable[[], object]) -> None:
    """Make a call that moves a function to a status; one that did so already, and whose answer got lost, counts."""
    try:
        insist(call)
    except grpc.RpcError:
        now = insist(lambda: client.functions.GetFunction(pb.GetFunctionParam(key=key)))
        if now.status != wanted:
            raise


def _fail(settings: WorkerSettings, client: Client, function: pb.Function, fault: Fault, store: AssetStore) -> None:
    report = pb.NewFailureReport(
        asset_key=function.key, asset_type=pb.FAILED_ASSET_FUNCTION, error_type=fault.error_type
    )
    try:
        stored = _store_log(settings, function, f"Building failed: {fault}\n", store)
    except OSError as error:
        # Without a log in the store the only report that the contract allows is an internal one.
        log.error("function.log_not_stored", function=function.key, error=str(error))
        report.error_type = pb.ERROR_TYPE_INTERNAL
    else:
        if fault.error_type != pb.ERROR_TYPE_INTERNAL:
            report.logs_address.checksum = stored.checksum
            report.logs_address.storage_address = url(settings.store_url, stored.name)
    _move(
        client,
        function.key,
        pb.FUNCTION_STATUS_FAILED,
        lambda: client.failure_reports.RegisterFailureReport(report),
    )
    log.warning("function.failed", function=function.key, reason=str(fault))


def _delay(
    settings: WorkerSettings, client: Client, function: pb.Function, fault: AwayFault, store: AssetStore
) -> None:
    """Leave a function as it is, to be built when its owner is poked again; say why."""
    try:
        _store_log(settings, function, f"Not built yet, and tried again: {fault}\n", store)
    except OSError as error:
        log.warning("function.log_not_stored", function=function.key, error=str(error))
    told = pb.DelayBuildParam(function_key=function.key, reason=_shortened(str(fault)))
    try:
        number = client.worker.DelayBuild(told).number
    except grpc.RpcError as error:
        # An orchestrator of before knows no delays, and pokes again all the same.
        log.warning("function.delay_not_told", function=function.key, reason=error.details())
        number = 0
    log.warning("function.delayed", function=function.key, number=number, reason=str(fault))


def _shortened(reason: str) -> str:
    """Return the first and the last words of a reason: what was asked for, and what the network said."""
    told = " ".join(reason.split())
    return told if len(told) <= _LONGEST_REASON else f"{told[:200]} … {told[-(_LONGEST_REASON - 203) :]}"


def _store_log(settings: WorkerSettings, function: pb.Function, said: str, store: AssetStore) -> Stored:
    with working_folder(settings.node_folder, function.key) as folder:
        text = folder / "log"
        text.write_text(said, encoding="utf-8")
        return store.put(f"logs/{function.key}-1", text)
