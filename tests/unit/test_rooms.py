"""Imports go down the list of rooms, never up."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROTOS, CORE, FILES, STORE, TRACE, ENGINE, COMPUTE, AUDIT, SETTINGS, LOG, REMOVAL, LISTENING, HEALTH, STARTING = (
    "orchestrator.protos",
    "orchestrator.core",
    "orchestrator.files",
    "orchestrator.store",
    "orchestrator.trace",
    "orchestrator.engine",
    "orchestrator.compute",
    "orchestrator.audit",
    "orchestrator.settings",
    "orchestrator.log",
    "orchestrator.removal",
    "orchestrator.listening",
    "orchestrator.health",
    "orchestrator.starting",
)
TELEMETRY = "orchestrator.telemetry"
SCHEMA = "orchestrator.schema"
BROKER, CLIENT = "orchestrator.broker", "orchestrator.client"
CALLS, ACCESS = "orchestrator.calls", "orchestrator.access"
EXECUTIONS, PROBLEMS = "orchestrator.executions", "orchestrator.problems"
VERSION = "orchestrator"
WORKERS, RUN, EXECUTORS, ASSETS, CONSENT, FUNCTIONS = (
    "workers",
    "workers.run",
    "workers.executors",
    "workers.assets",
    "workers.consent",
    "workers.functions",
)
# What an organization's side may import of the orchestrator's package.
OUTSIDE = {BROKER, CLIENT, FILES, CORE, PROTOS, LOG, REMOVAL, LISTENING, HEALTH, TELEMETRY}
ENGINES = {ENGINE, TRACE, STORE, CORE, PROTOS}
# The table of docs/README.md, "Rooms".
MAY_IMPORT = {
    PROTOS: set(),
    CORE: {PROTOS},
    FILES: {CORE},
    STORE: {CORE, PROTOS},
    TRACE: {STORE, CORE, PROTOS},
    ENGINE: {TRACE, STORE, CORE, PROTOS},
    COMPUTE: {*ENGINES, VERSION},
    AUDIT: {COMPUTE, *ENGINES},
    BROKER: {CORE, TELEMETRY},
    CLIENT: {FILES, CORE, PROTOS, TELEMETRY},
    "orchestrator.adoption": {CLIENT, COMPUTE, *ENGINES},
    "orchestrator.dispatch": {BROKER, *ENGINES, TELEMETRY},
    CALLS: {*ENGINES, SETTINGS, TELEMETRY},
    ACCESS: {STORE, CORE},
    EXECUTIONS: {*ENGINES},
    PROBLEMS: {*ENGINES, SETTINGS},
    "orchestrator.gateway": {CALLS, COMPUTE, EXECUTIONS, PROBLEMS, *ENGINES, LISTENING, HEALTH, LOG, TELEMETRY},
    "orchestrator.rpc": {CALLS, COMPUTE, *ENGINES, FILES, SETTINGS, LOG, TELEMETRY},
    "orchestrator.server": {
        "orchestrator.rpc",
        "orchestrator.gateway",
        "orchestrator.dispatch",
        CALLS,
        ACCESS,
        *ENGINES,
        FILES,
        SETTINGS,
        LISTENING,
        STARTING,
        TELEMETRY,
        SCHEMA,
        "migrations",
    },
    "orchestrator.supervisor": {
        "orchestrator.server",
        "orchestrator.gateway",
        CORE,
        SETTINGS,
        LOG,
        LISTENING,
        STARTING,
    },
    "orchestrator.embedded": {BROKER, CLIENT, FILES, CORE, PROTOS, REMOVAL},
    "orchestrator.cli": None,
    "orchestrator.__main__": {"orchestrator.cli"},
    SETTINGS: {ENGINE, CORE},
    LOG: {TELEMETRY},
    TELEMETRY: {VERSION},
    REMOVAL: set(),
    LISTENING: {CORE},
    HEALTH: {CORE, LISTENING},
    SCHEMA: {CORE, "migrations"},
    STARTING: {"orchestrator.gateway", STORE, SETTINGS, "migrations"},
    VERSION: set(),
    "beat": {BROKER, COMPUTE, EXECUTIONS, PROBLEMS, *ENGINES, SETTINGS, LOG, HEALTH, SCHEMA},
    WORKERS: {*OUTSIDE, ASSETS, EXECUTORS},
    EXECUTORS: {CORE, FILES, WORKERS},
    ASSETS: {*OUTSIDE, WORKERS},
    CONSENT: {*OUTSIDE, WORKERS, EXECUTORS, ASSETS},
    FUNCTIONS: {*OUTSIDE, WORKERS, EXECUTORS, ASSETS, CONSENT},
    RUN: {*OUTSIDE, WORKERS, EXECUTORS, ASSETS, CONSENT, FUNCTIONS},
    "workers.runtime": {*OUTSIDE, WORKERS},
    # A distribution of its own: the rooms of its client, and the file by which a federation of this machine is found.
    "workers.modules": {BROKER, CLIENT, CORE, PROTOS, LOG, TELEMETRY, "orchestrator.embedded"},
    "workers.node": {*OUTSIDE, WORKERS, RUN, EXECUTORS, ASSETS, CONSENT, FUNCTIONS},
    "migrations": {STORE, PROTOS},
    "benchmarks": None,
}
PACKAGES = ("orchestrator", "workers", "beat", "migrations", "benchmarks")
MODULES = sorted(
    file
    for package in PACKAGES
    for file in (ROOT / package).rglob("*.py")
    if not file.name.endswith(("_pb2.py", "_pb2_grpc.py"))
)


def room_of(module: str) -> str | None:
    """Return the room that a dotted name lies in, None when it is not ours."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in MAY_IMPORT:
            return ".".join(parts[:length])
    raise AssertionError(f"{module} lies in no room")


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide the room"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from orchestrator import protos` imports a room, `from orchestrator import __version__` does not.
            found |= {name if room_of(name) != room_of(str(node.module)) else str(node.module) for name in names}
    return found


def forbidden(room: str, source: str) -> set[str]:
    """Return the rooms that a module of a room imports although it may not."""
    allowed = MAY_IMPORT[room]
    rooms = {room_of(module) for module in imports_of(source)} - {None, room}
    return set() if allowed is None else rooms - allowed


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_a_module_imports_only_rooms_below_its_own(file):
    room = room_of(name_of(file))
    assert not {module for module in imports_of(file.read_text()) if module.partition(".")[0] == "tests"}
    assert not forbidden(room, file.read_text()), f"{name_of(file)} ({room}) may not import them"


# SQL stands with the noun whose table it changes or reads, and runs through one door.
WITHOUT_SQL = ("adoption", "rpc", "gateway", "calls", "dispatch", "cli", "embedded", "client", "broker")


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_only_the_store_opens_connections(file):
    opened = re.findall(r"\.engine\.(?:begin|connect)\(", file.read_text())
    assert not opened or room_of(name_of(file)) == STORE


def has_sql(source: str) -> bool:
    """Tell whether a module says something to the database, rather than asking a noun to."""
    speaks = (
        r"from sqlalchemy import .*\b(text|select|insert|update|delete)\b|store(\.| import .*\b)(statements|tables)\b"
    )
    return re.search(speaks, source) is not None


@pytest.mark.parametrize("room", [*(f"orchestrator.{room}" for room in WITHOUT_SQL), "beat", "workers"])
def test_a_room_without_sql(room):
    files = [file for file in MODULES if name_of(file).startswith(f"{room}.")]
    assert files
    assert not [name_of(file) for file in files if has_sql(file.read_text())]


def test_sql_is_found():
    assert has_sql("from sqlalchemy import text")
    assert has_sql("from orchestrator.store.statements import statement")
    assert not has_sql("from sqlalchemy.exc import SQLAlchemyError")


PRODUCTS = (COMPUTE, EXECUTIONS, PROBLEMS)


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_products_never_import_one_another(product):
    others = {other for other in PRODUCTS if other != product}
    assert not (MAY_IMPORT.get(product) or set()) & others
    assert not (MAY_IMPORT[ENGINE] & set(PRODUCTS))


def test_an_import_up_the_list_is_found():
    assert forbidden(WORKERS, "from orchestrator.store import tasks") == {STORE}
    assert forbidden(EXECUTORS, "from workers.run import attempt") == {RUN}
    assert forbidden(CORE, "def f():\n    from orchestrator import engine") == {ENGINE}
    assert forbidden(ENGINE, "from orchestrator.compute import plans") == {COMPUTE}
    assert forbidden(STORE, "import orchestrator.rpc.server") == {"orchestrator.rpc"}


def test_every_folder_of_the_packages_lies_in_a_room():
    folders = {
        name_of(file / "__init__.py") for package in PACKAGES for file in (ROOT / package).iterdir() if file.is_dir()
    }
    assert all(room_of(folder) for folder in folders if "__pycache__" not in folder)
