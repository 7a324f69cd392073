"""Whole processes: how long they take, how much memory they take at most."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Where the commands of this environment are.
BIN = Path(sys.executable).parent
TOOLRT = str(BIN / "toolrt")
_PER_MIB = 1024 if sys.platform == "linux" else 1024 * 1024
#: Runs its arguments and prints their peak memory. A process of its own: what is started
#: counts the memory of who starts it, too, and that is a test runner's here.
_WATCH = """
import os, resource, sys
null = os.open(os.devnull, os.O_RDWR)
move = [(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=move)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a user whose home is *home*, without any config."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOOLRT_", "XDG_", "PYTHON"))
    }
    return {**kept, "HOME": str(home), "XDG_STATE_HOME": str(home)}


def installed(home: Path) -> Path:
    """
    Build toolrt, install it in the new environment *home*; return where its programs are.

    That is what users run. Here there is more: the packages come from the source tree,
    hooks of other tools run at each start, and msgspec imports typing_extensions where
    it finds it.

    Raises:
        subprocess.CalledProcessError: It cannot be built, or what it needs not be had.
    """
    python = [sys.executable, "-m"]
    build = [*python, "build", "--wheel", "--no-isolation", "--outdir", str(home)]
    subprocess.run([*build, str(ROOT)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*python, "venv", "--without-pip", str(home)], check=True)
    programs = home / "bin"
    (wheel,) = home.glob("*.whl")
    # This pip, not the older one that comes with Python 3.11: the programs that one makes
    # import re, which adds half of what Python takes to start.
    pip = [*python, "pip", "--python", str(programs / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
    return programs


def run(command: list[str], env: dict[str, str], cwd: Path) -> None:
    """Run *command*. Raises subprocess.CalledProcessError if it fails."""
    subprocess.run(
        command,
        env=env,
        cwd=cwd,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def peak_mib(command: list[str], env: dict[str, str], cwd: Path) -> float:
    """
    Return the most memory that *command* has at any time.

    Raises:
        RuntimeError: It failed.
    """
    watch = [sys.executable, "-S", "-E", "-c", _WATCH, *command]
    told = subprocess.run(
        watch, env=env, cwd=cwd, check=True, stdout=subprocess.PIPE
    ).stdout
    status, peak = map(int, told.split())
    if status:
        raise RuntimeError(f"{' '.join(command)}: exit {status}")
    return peak / _PER_MIB
