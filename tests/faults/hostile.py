"""
Hostile command tools, made from a seed; run as a program, the worker that calls them.

A worker is a process of its own because it adopts the orphans of its tools, which is a
state of the whole process. It calls one tool after the other through a registry, as the
command line does, looks for what is left of each, and prints a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from toolrt import HandlerDef, Pack, RegistryBuilder, ToolCall
from toolrt.bindings import process
from toolrt.bindings.command import CommandSpec, bind_command
from toolrt.bindings.process import adopt_orphans
from toolrt.errors import ToolFailedError
from toolrt.testing import MemorySink

DEADLINE_S: Final = 0.3
#: After the call nothing is left. What the system needs to bury the dead counts as well,
#: on a machine where much else runs: whoever survives sleeps for longer.
GONE_S: Final = 20.0
_POLL_S: Final = 0.02
_MAX_OUTPUT_BYTES: Final = 64 * 1024
#: Marks every process of one tool; inherited by whatever it starts.
MARK: Final = "TOOLRT_HOSTILE_MARK"


class Trait(msgspec.Struct, frozen=True):
    """
    One way to be hostile, in the words of the shell.

    *before* is done first, *end* is how the tool then goes on: a hang unless it says
    something else. *floods* tells that the output limit may end it before its deadline.
    """

    name: str
    before: str = ""
    end: str = ""
    floods: bool = False
    #: Takes no other end: a service that lets go of its tool's pipes is no orphan.
    has_to_hang: bool = False


_HANG: Final = "sleep 60"

_DOUBLE_FORK: Final = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
os.wait()
"""
_HOPS: Final = """
import os, time
if os.fork() == 0:
    for _ in range(60):
        os.setsid()
        time.sleep(0.02)
        if os.fork():
            os._exit(0)
"""
_CLOSE_ALL: Final = "exec 0<&- 1>&- 2>&-"


def _python(script: str) -> str:
    return f"{sys.executable} -I -S -c '{script}'"


TRAITS: Final = (
    Trait("hang"),
    Trait("fork grandchildren", "sh -c 'sleep 60 & sleep 60 & wait' & sleep 60 &"),
    Trait("setsid", "setsid sleep 60 &"),
    Trait("double fork", "(setsid sh -c 'sleep 60; sleep 60' &)"),
    Trait("double fork without exec", _python(_DOUBLE_FORK)),
    Trait("double fork, deaf", "(setsid sh -c 'trap \"\" TERM; sleep 60; sleep 60' &)"),
    Trait("flood stdout", "cat /dev/zero &", floods=True),
    Trait("flood stderr", "cat /dev/zero >&2 &"),
    Trait("ignore TERM", "trap '' TERM"),
    Trait("ignore TERM, HUP and INT", "trap '' TERM HUP INT"),
    Trait("close descriptors", _CLOSE_ALL, has_to_hang=True),
    Trait("stop itself", end="kill -STOP $$; sleep 60"),
    Trait("half a character", "printf '\\303'"),
    Trait("half a character and end", end="printf 'a\\342\\202'"),
    Trait("exit 255", end="exit 255"),
    Trait("kill itself", end="kill -KILL $$"),
    Trait("background writer", "(while :; do echo more; sleep 0.03; done) &"),
    Trait("background writer and end", "(setsid sh -c 'sleep 60' &)", end="exit 0"),
    Trait("sleep in a trap", "trap 'sleep 60' TERM"),
    Trait("fork in a loop", "for i in 1 2 3 4 5 6 7 8; do sleep 60 & sleep 60 & done"),
    Trait("hop from session to session", _python(_HOPS)),
)  # fmt: skip


class Tool(msgspec.Struct, frozen=True):
    """One hostile tool: its name, its shell script and whether only a deadline ends it."""

    name: str
    script: str
    hangs: bool


def make_tool(seed: int, index: int) -> Tool:
    """Return tool *index* of *seed*: first each trait alone, then two of them together."""
    if index < len(TRAITS):
        return _combined((TRAITS[index],))
    first, second = random.Random(f"{seed}/{index}").sample(TRAITS, 2)
    return _combined((first, second))


def _combined(traits: tuple[Trait, ...]) -> Tool:
    ends = [trait.end for trait in traits if trait.end]
    if not ends or any(trait.has_to_hang for trait in traits):
        ends = [_HANG]
    end = ends[0]
    lines = [trait.before for trait in traits if trait.before]
    return Tool(
        name=" + ".join(trait.name for trait in traits),
        script="\n".join([*lines, end]),
        hangs="sleep" in end and not any(trait.floods for trait in traits),
    )


class Report(msgspec.Struct, frozen=True):
    """What became of one tool, as its worker saw it."""

    index: int
    name: str
    hangs: bool
    #: The outcome of each CallEvent of the call; ``execution_failed/TIMEOUT``.
    outcomes: tuple[str, ...]
    #: The processes that are left, by command line.
    left: tuple[str, ...]
    #: Whether the worker itself has a child left, ended or not.
    has_child: bool
    #: What the call raised, though it is to raise nothing.
    raised: str | None = None

    @property
    def faults(self) -> list[str]:
        """What is wrong with it, in words."""
        found = []
        if self.raised:
            found.append(f"run raised {self.raised}")
        if len(self.outcomes) != 1:
            found.append(f"{len(self.outcomes)} CallEvents")
        if self.hangs and self.outcomes != ("execution_failed/TIMEOUT",):
            found.append(f"hangs, and ended as {self.outcomes}")
        if self.left:
            found.append(f"left {self.left}")
        if self.has_child and not self.left:
            found.append("left a child that is not reaped")
        return found


def marked(mark: str) -> dict[int, str]:
    """Return the processes whose mark begins with *mark*, each with its command line."""
    found = {}
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            names = (entry / "environ").read_bytes().split(b"\0")
            if any(name.startswith(wanted) for name in names):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = line.decode(errors="replace").strip()
        except OSError:  # it ended, or is somebody else's
            continue
    return found


def _bind(tools: dict[int, Tool], deadline_s: float) -> Pack:
    pack = Pack("hostile")
    for index, tool in tools.items():
        script = tool.script.replace("{", "{{").replace("}", "}}")
        spec = CommandSpec(command=("/bin/sh", "-c", script), env=(MARK,))
        definition = HandlerDef(
            name=f"t{index}", timeout=deadline_s, max_output=_MAX_OUTPUT_BYTES
        )
        pack.bind(definition, bind_command(spec), ends_itself=True)
    return pack


def _outcome(event: Any, error: object) -> str:
    code = error.code if isinstance(error, ToolFailedError) else ""
    stated = getattr(event.outcome, "code", "")
    return f"{event.outcome.kind}/{stated}" if stated == code else "a contradiction"


def _call(pack: Pack, index: int, tool: Tool, mark: str, gone_s: float) -> Report:
    """Call tool *index* of *pack* and wait until nothing of it is left, for so long."""
    sink = MemorySink()
    registry = RegistryBuilder().register(pack).with_audit_sink(sink).build()
    os.environ[MARK] = f"{mark}/{index}."
    raised, error = None, None
    try:
        error = registry.run(ToolCall(f"t{index}")).error
    except BaseException as exc:  # noqa: BLE001 - to be told, whatever it is
        raised = repr(exc)
    gone_by = time.monotonic() + gone_s
    while (left := marked(os.environ[MARK])) and time.monotonic() < gone_by:
        time.sleep(_POLL_S)
    return Report(
        index=index,
        name=tool.name,
        hangs=tool.hangs,
        outcomes=tuple(_outcome(event, error) for event in sink.events),
        left=tuple(left.values()),
        has_child=_has_child(),
        raised=raised,
    )


def _has_child() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def main(task: str) -> None:
    """Call the tools that *task* (JSON) names, and print a report of each."""
    given = json.loads(task)
    # A busy machine takes its time to bury the dead.
    vars(process).update(_LAST_WAIT_S=GONE_S)
    if given["adopt"] and not adopt_orphans():
        raise SystemExit("orphans cannot be adopted here")
    tools = {index: make_tool(given["seed"], index) for index in given["indexes"]}
    pack = _bind(tools, given["deadline_s"])
    for index, tool in tools.items():
        report = _call(pack, index, tool, given["mark"], given["gone_s"])
        print(msgspec.json.encode(report).decode(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
