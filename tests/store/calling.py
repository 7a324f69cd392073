"""A process that makes calls through a registry over a real store, as told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from toolrt import (
    Allow,
    Authority,
    GateRequest,
    Pack,
    RateLimitObligation,
    Registry,
    RegistryBuilder,
    ToolCall,
)
from toolrt_store import SqliteEventStore

from .samples import start_python

pack = Pack("lim")


@pack.handler("hold", max_concurrent=1, tier="cold")
def hold() -> str:
    """Say that it runs, and wait for a line."""
    say("running")
    return sys.stdin.readline().strip()


@pack.handler("quick", max_concurrent=1, rate_limit_per_min=7)
def quick() -> str:
    """Do nothing."""
    return "done"


@pack.handler("obliged")
def obliged() -> str:
    """Do nothing; the gate says how often."""
    return "done"


@pack.handler("guarded", max_concurrent=1, capabilities=["lim:use"])
def guarded() -> str:
    """Do nothing, for those who may."""
    return "done"


class ObligingGate:
    """Lets ``obliged`` be called twice a minute, by each caller."""

    impl_name = "ObligingGate"

    def check(self, request: GateRequest) -> Allow:
        """Allow, and oblige."""
        limited = request.verb == "obliged"
        return Allow((RateLimitObligation(60, 2),) if limited else ())


def registry_over(store: SqliteEventStore) -> Registry:
    """Return a registry of the pack that commits both events of a call to *store*."""
    return (
        RegistryBuilder()
        .register(pack)
        .with_gate(ObligingGate())
        .with_authority(Authority({"ann": ["lim:use"]}))
        .with_event_store(store, calls=True)
        .build()
    )


def outcome(
    registry: Registry, verb: str, caller: str = "ann", *, dry_run: bool = False
) -> str:
    """Return the kind of the outcome of one call."""
    found = registry.run(ToolCall(verb, caller=caller, dry_run=dry_run)).outcome
    assert found is not None
    return found.kind


def say(text: str) -> None:
    """Write a line that the parent waits for."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def serve(path: str) -> None:
    """Make the calls that standard input names: a verb, a caller, and how many."""
    with SqliteEventStore.open(path) as store:
        registry = registry_over(store)
        say("ready")
        while line := sys.stdin.readline():
            verb, caller, count = line.split()
            for _ in range(int(count)):
                say(outcome(registry, verb, caller))


_MAIN = "import sys; from tests.store.calling import serve; serve(sys.argv[1])"


class Caller:
    """Such a process."""

    def __init__(self, path: Path) -> None:
        self._process: subprocess.Popen[str] = start_python(_MAIN, path)

    def tell(self, line: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def said(self) -> str:
        """Wait for its next line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Let it end by itself."""
        self._process.communicate()
        assert self._process.returncode == 0
