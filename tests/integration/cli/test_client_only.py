"""The wheel with what `pip install .` gets: the SDK and the commands of a user; the other parts say what they miss."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from orchestrator.cli.parts import EXTRAS
from orchestrator.embedded.certificates import Layout
from tests.kit.local import runs_here
from tests.kit.partners import Partners
from tests.kit.processes import clean_environment

from .commands import SECONDS, options

ROOT = Path(__file__).parents[3]
SOURCES = ("orchestrator", "workers", "beat", "migrations", "examples", "pyproject.toml", "setup.py", "README.md")
SERVERS = ("sqlalchemy", "celery", "flower", "alembic", "psycopg", "redis", "uvicorn", "starlette", "psutil")

EACH_COMMAND = """
import json, sys
from click.testing import CliRunner
from orchestrator.cli.main import main
said = {name: CliRunner().invoke(main, [name]) for name in sys.argv[1:]}
print(json.dumps({name: [done.exit_code, done.stderr] for name, done in said.items()}))
"""
SDK = """
import importlib, pkgutil, sys
import orchestrator.client
[getattr(orchestrator.client, name) for name in orchestrator.client.__all__]
for module in pkgutil.iter_modules(orchestrator.client.__path__, "orchestrator.client."):
    if module.name != "orchestrator.client.substra":  # of an extra of its own
        importlib.import_module(module.name)
"""


def needed(name: str, extra: str = "") -> set[str]:
    """Return the names of a distribution and of all that it needs on this machine."""
    found = {name}
    for line in distribution(name).requires or ():
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
            found |= set().union(*(needed(wanted.name, extra) for extra in wanted.extras or [""]))
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an environment with our wheel, and of others what it asks for: those that are installed here."""
    folder = tmp_path_factory.mktemp("client")
    for name in SOURCES:
        ours = ROOT / name
        if ours.is_dir():
            shutil.copytree(ours, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ours, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    subprocess.run(build, check=True, timeout=SECONDS)
    venv.create(folder / "environment", symlinks=True)
    names = {"base": folder / "environment", "platbase": folder / "environment"}
    packages = Path(sysconfig.get_path("purelib", vars=names))
    (wheel,) = folder.glob("*.whl")
    python = folder / "environment" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-index", "--no-deps", wheel], check=True, timeout=SECONDS)
    for name in needed("orchestrator") - {"orchestrator"}:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists():
                (packages / top).symlink_to(distribution(name).locate_file(top))
    return packages


def run(site: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command in that environment's `bin`."""
    program = site.parents[2] / "bin" / arguments[0]
    done = subprocess.run(
        [program, *arguments[1:]],
        env=clean_environment(environment),
        cwd=site.parents[2],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def test_it_brings_no_server_and_takes_no_general_name(site: Path):
    found = {path.name for path in site.iterdir()}
    assert not found & {*SERVERS, "examples", "tests", "benchmarks", "workers", "beat", "migrations"}
    assert {name for name in found if name.startswith("orchestrator")} == {
        "orchestrator",
        "orchestrator.pth",
        f"orchestrator-{distribution('orchestrator').version}.dist-info",
    }
    assert run(site, "python", "-c", "import sys; print(sys.path[-1])")[1].strip() == str(site / "orchestrator/rooms")


def test_the_sdk_and_the_commands_of_a_user_work(site: Path, network: Partners, certificates: Layout, tmp_path: Path):
    assert run(site, "python", "-c", SDK) == (0, "", "")
    code, output, errors = run(site, "orchestrator", "--help")
    assert (code, errors, "\n  plan " in output) == (0, "", True)
    plan = network.plan()
    plan.submit()
    ours = options(network, certificates)
    code, output, errors = run(site, "orchestrator", *ours, "plan", "list", "--json")
    assert (code, errors, json.loads(output)["plans"][0]["key"]) == (0, "", plan.key)
    code, _, errors = run(site, "orchestrator", *ours, "consent", "--work-dir", str(tmp_path), "list")
    assert (code, errors) == (0, "")


def test_a_part_that_is_not_there_says_what_to_install(site: Path):
    code, output, errors = run(site, "python", "-c", EACH_COMMAND, *EXTRAS)
    assert (code, errors) == (0, "")
    for name, (exit_code, said) in json.loads(output).items():
        assert exit_code == 2, name
        assert said == (
            f"Error: `orchestrator {name}` needs the extra '{EXTRAS[name]}', which is not installed: run "
            f"`pip install '.[{EXTRAS[name]}]'` in a checkout of this project\n"
        )


def test_so_does_an_option_that_needs_more(site: Path, network: Partners, certificates: Layout, tmp_path: Path):
    asked = ("orchestrator", *options(network, certificates), "audit", "check", "--database")
    code, _, errors = run(site, *asked, ORCHESTRATOR_DATABASE_URL="postgresql://host/name")
    assert (code, errors.count("\n"), "needs the extra 'server'" in errors) == (2, 1, True)
    runs_here(tmp_path, network.address, network.channel, certificates, ("org-1",))
    code, _, errors = run(site, "orchestrator", "plan", "list", "--data", str(tmp_path))
    assert (code, errors.count("\n"), "needs the extra 'embedded'" in errors) == (2, 1, True)
