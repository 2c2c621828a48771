"""Builds the wheel: all that it puts beside other packages is `orchestrator`, see docs/decisions/0042."""

from pathlib import Path
from shutil import move, rmtree

from setuptools import setup
from setuptools.command.build_py import build_py

ROOMS = ("beat", "examples", "migrations", "workers")


class Build(build_py):
    """Moves the other rooms into `orchestrator/rooms`, a folder in which Python looks last."""

    def run(self) -> None:
        """Build, and move."""
        built = Path(self.build_lib)
        if not self.editable_mode:
            rmtree(built, ignore_errors=True)  # of the last time
        super().run()
        if self.editable_mode:
            return
        (built / "orchestrator" / "rooms").mkdir()
        for name in ROOMS:
            move(built / name, built / "orchestrator" / "rooms" / name)
        (built / "orchestrator.pth").write_text("orchestrator/rooms\n")


setup(cmdclass={"build_py": Build})
