"""Installs the built wheel and sdist into fresh environments and uses them.

Usage: python check_wheel.py DIST_DIR. Not a pytest module: it needs what `make wheel` built.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

USE = """
import sys, notify, notify_core, notify.sender.lane
from notify.config import load
load()
assert sys.prefix in notify_core.__file__, notify_core.__file__
want = sys.argv[1] == "compiled"
assert notify_core.ACCELERATED is want, f"ACCELERATED is {notify_core.ACCELERATED}"
typed = notify.sender.lane.__file__
assert typed.endswith(".py") is not want, typed
maker = notify_core.ids.IdMaker(1, 1)
assert len(set(maker.make_many(1_800_000_000_000, 1000))) == 1000
print("  ", sys.argv[1], notify.__version__, "works")
"""


def run(*command: str | Path, cwd: Path, **env: str) -> None:
    subprocess.run([str(part) for part in command], cwd=cwd, env=os.environ | env, check=True)


def check(archive: Path, mode: str, **env: str) -> None:
    """Install into a fresh environment, import from a foreign directory, run the command."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        print(f"{archive.name} ({mode})", flush=True)
        run(sys.executable, "-m", "venv", place / "venv", cwd=place)
        python = place / "venv" / "bin" / "python"
        quiet = ("--quiet", "--disable-pip-version-check")
        run(python, "-m", "pip", "install", *quiet, archive.resolve(), cwd=place, **env)
        run(python, "-c", USE, mode, cwd=place)
        run(place / "venv" / "bin" / "notify", "--version", cwd=place)


def main() -> None:
    dist = Path(sys.argv[1])
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    check(wheel, "compiled")  # it was built from the sdist
    check(sdist, "pure", NOTIFY_PURE="1")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
