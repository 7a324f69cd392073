"""
Whole-process start-up: toolrt against ``python -c pass``, in turn, in one run.

Prints the median of each command, and the median of the ratios taken pair by pair: the
machine may drift, a pair drifts together.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 25
BIN = Path(sys.executable).parent

COMMANDS = {
    "toolrt run echo.say": [str(BIN / "toolrt"), "run", "echo.say"],
    "toolrt --version": [str(BIN / "toolrt"), "--version"],
    "toolrt __complete tools": [str(BIN / "toolrt"), "__complete", "tools"],
    "toolrt pack list": [str(BIN / "toolrt"), "pack", "list"],
    "toolrt audit query": [str(BIN / "toolrt"), "audit", "query"],
}
LIMIT = [sys.executable, "-c", "pass"]


def seconds(command: list[str], env: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        command,
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home, "XDG_STATE_HOME": home}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for command in COMMANDS.values():  # makes the store and the bytecode
            seconds(command, env)
        print(
            f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
        )
        print(f"{'command':28}{'median ms':>10}{'times python -c pass':>24}")
        for name, command in COMMANDS.items():
            pairs = [
                (seconds(command, env), seconds(LIMIT, env)) for _ in range(ROUNDS)
            ]
            median = statistics.median(ours for ours, _ in pairs) * 1000
            ratio = statistics.median(ours / limit for ours, limit in pairs)
            print(f"{name:28}{median:>10.1f}{ratio:>24.2f}")


if __name__ == "__main__":
    main()
