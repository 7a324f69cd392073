"""
toolrt beside other tools and libraries that do a part of the same work.

    python benchmarks/run_peers.py [--into FILE] [--venvs DIRECTORY] [--rounds N]

Each peer is installed into an environment of its own, once. A round runs every side of a
table in turn, each in a fresh process; a ratio is the median over the rounds. A peer that
cannot be installed or run is named with the reason.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from figures import Asked, Figure, Pair, Run, peer_rows, save, text_table
from machine import machine
from processes import BIN, environment

HERE: Final = Path(__file__).parent
ROUNDS: Final = 5
#: What each environment holds; its first package names the version that is told.
PACKAGES: Final = {
    "pluggy": ("pluggy",),
    "structlog": ("structlog", "orjson"),
    "picologging": ("picologging",),
    "loguru": ("loguru",),
    "sqlite-utils": ("sqlite-utils",),
    "llm": ("llm",),
    "mcp": ("mcp",),
    "langchain-core": ("langchain-core",),
    "fastmcp": ("fastmcp",),
}


class Side(NamedTuple):
    """One side of a table: where it is installed (empty: here) and what is run."""

    name: str
    where: str
    #: A module of ``peers`` and its words; for a command its words.
    words: str
    is_command: bool = False
    asked: Asked | None = None


def command(name: str, where: str = "") -> Side:
    """Return a side that is a whole process."""
    return Side(name, where, name, is_command=True)


#: What the first side of a table costs is 1.
TABLES: Final = {
    "start-up": (
        command("toolrt run echo.say"),
        command("toolrt --version"),
        command("python -c pass"),
        command("sqlite-utils --version", "sqlite-utils"),
        command("llm --version", "llm"),
        command("fastmcp version", "fastmcp"),
    ),
    "one tool call": (
        Side("toolrt: the full pipeline, event queued", "", "call_toolrt sink"),
        Side("toolrt: the full pipeline, no sink", "", "call_toolrt"),
        Side("pluggy: one hook", "pluggy", "call_pluggy"),
        Side("MCP SDK: tool manager, async tool", "mcp", "call_mcp async"),
        Side("MCP SDK: tool manager, sync tool", "mcp", "call_mcp sync"),
        Side("MCP SDK: server, async tool", "mcp", "call_mcp server"),
        Side("llm: the tool loop", "llm", "call_llm"),
        Side("langchain-core: tool.invoke", "langchain-core", "call_langchain"),
        Side("FastMCP: server, async tool", "fastmcp", "call_fastmcp async"),
        Side("FastMCP: server, sync tool", "fastmcp", "call_fastmcp sync"),
    ),
    "JSON lines": (
        Side("toolrt: JsonLinesAuditSink, Block", "", "lines_toolrt"),
        Side(
            "structlog + orjson",
            "structlog",
            "lines_structlog",
            asked=Asked(4, "ratio"),
        ),
        Side("picologging", "picologging", "lines_stdlib picologging"),
        Side("logging", "", "lines_stdlib logging"),
        Side("loguru", "loguru", "lines_loguru"),
        Side("loguru, enqueued", "loguru", "lines_loguru enqueue"),
    ),
    "SQLite insert": (
        Side("toolrt: append_events, indexed and chained", "", "inserts_toolrt"),
        Side("sqlite-utils: insert_all", "sqlite-utils", "inserts_sqlite_utils"),
        Side("sqlite3: executemany", "", "inserts_sqlite3"),
    ),
}
_UNITS: Final = {"start-up": "ms"}


def install(venvs: Path, name: str) -> str:
    """Install a peer; return why that failed, or nothing."""
    home = venvs / name
    if (home / "ready").exists():
        return ""
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    packages = ["--disable-pip-version-check", *PACKAGES[name]]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([*pip, *packages], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        return next((line for line in said if "ERROR" in line), str(error))
    (home / "ready").touch()
    return ""


def version(venvs: Path, name: str) -> str:
    """Return the version of a peer that is installed."""
    paths = [str(one) for one in (venvs / name).glob("lib/python*/site-packages")]
    found = importlib.metadata.distributions(name=PACKAGES[name][0], path=paths)
    return next((one.version for one in found), "unknown")


def measured(side: Side, venvs: Path, home: Path) -> float:
    """Return the seconds of one unit of work. Raises CalledProcessError."""
    programs = venvs / side.where / "bin" if side.where else BIN
    env = environment(home)
    env["FASTMCP_CHECK_FOR_UPDATES"] = "off"  # it would ask the network
    first, *rest = side.words.split()
    if not side.is_command:
        words = [str(programs / "python"), "-m", f"peers.{first}", *rest]
        told = subprocess.run(
            words, cwd=HERE, env=env, check=True, capture_output=True
        ).stdout
        return float(json.loads(told)["seconds"])
    began = time.perf_counter()
    words = [str(programs / first), *rest]
    subprocess.run(words, cwd=home, env=env, check=True, capture_output=True)
    return time.perf_counter() - began


def table(
    name: str, venvs: Path, rounds: int, absent: dict[str, str]
) -> tuple[list[Figure], dict[str, str]]:
    """
    Return a figure for each side of a table, and why the others have none.

    Args:
        absent: The peers that are not installed, and why.
    """
    missing = {s.name: absent[s.where] for s in TABLES[name] if s.where in absent}
    taken: dict[Side, list[float]] = {
        side: [] for side in TABLES[name] if side.name not in missing
    }
    with tempfile.TemporaryDirectory() as home:
        for number in range(rounds + 1):
            for side, why in _one_round(taken, venvs, Path(home)).items():
                missing[side.name] = why
                del taken[side]
            if number == 0:  # made bytecode and filled caches
                taken = {side: [] for side in taken}
    first = TABLES[name][0]
    if first.name in missing:
        raise RuntimeError(f"{first.name}: {missing[first.name]}")
    unit = _UNITS.get(name, "us")
    found = [
        _figure(name, side, unit, list(zip(times, taken[first], strict=True)))
        for side, times in taken.items()
    ]
    return found, missing


def _one_round(
    taken: dict[Side, list[float]], venvs: Path, home: Path
) -> dict[Side, str]:
    """Measure every side once more; return those that failed, and what they said."""
    failed = {}
    for side, times in taken.items():
        try:
            times.append(measured(side, venvs, home))
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            failed[side] = said[-1] if said else str(error)
    return failed


def _figure(suite: str, side: Side, unit: str, pairs: list[Pair]) -> Figure:
    # Here ours is the peer and the limit is toolrt: the more, the better.
    scale = {"ms": 1e3, "us": 1e6}[unit]
    scaled = [(one * scale, other * scale) for one, other in pairs]
    return Figure.of(
        suite,
        side.name,
        unit,
        scaled,
        cheapest="toolrt",
        better="more",
        asked=side.asked,
    )


def main() -> None:
    """Install, measure, print and save."""
    parser = argparse.ArgumentParser(description="toolrt beside its peers")
    parser.add_argument("--into", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--venvs", type=Path, default=HERE.parent / ".venv-peers")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    words = parser.parse_args()
    venvs: Path = words.venvs.absolute()
    absent = {name: why for name in PACKAGES if (why := install(venvs, name))}
    versions = {
        f"peer {name}": version(venvs, name) for name in PACKAGES if name not in absent
    }
    figures: list[Figure] = []
    missing: dict[str, str] = {}
    for name in TABLES:
        found, lost = table(name, venvs, words.rounds, absent)
        figures += found
        missing.update(lost)
        print(f"\n{name}\n{text_table(peer_rows(found, lost))}", flush=True)
    if words.into is not None:
        save(
            words.into, Run({**machine(), **versions}, tuple(figures), missing=missing)
        )


if __name__ == "__main__":
    main()
