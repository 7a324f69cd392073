"""What ``provenance explain`` says of a call is what becomes of the call."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from toolrt.ucan import did_of_seed
from toolrt_cli.revocations import revoke

from .conftest import Cli
from .delegations import BOT, DAY, LEAD, OTHER, ROOT, delegated, digest_of, hold

WriteConfig = Callable[[str], Path]

FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # to shrink takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = ("db:read", "db:list", "net:get")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A token that the bot shows, and what is wrong with it."""

    capabilities: tuple[str, ...]
    through: bytes | None
    audience: bytes
    root: bytes
    days: float
    begins_in_days: int
    is_revoked: bool
    mode: int


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A config, tokens and what was revoked."""

    listed: tuple[str, ...]
    ceiling: tuple[str, ...] | None
    actors: tuple[str, ...] | None
    rules: tuple[tuple[str, str, str], ...]
    default: str
    bearer: bool
    max_ttl: str
    tokens: tuple[Shown, ...]

    def config(self, files: list[Path]) -> str:
        """Return the config in TOML."""
        ceiling = "" if self.ceiling is None else f"capabilities = {list(self.ceiling)}"
        actors = "" if self.actors is None else f"actors = {list(self.actors)}"
        lines = [
            '[runtime]\npacks = ["std", "cmd"]',
            *(
                f'[pack.cmd.handler."cmd.t{n}"]\ncommand = ["true"]\n'
                f'capabilities = ["{name}"]'
                for n, name in enumerate(NAMES)
            ),
            "[ucan]",
            f'bearer = {str(self.bearer).lower()}\nmax_ttl = "{self.max_ttl}"',
            f'[[ucan.root]]\ndid = "{did_of_seed(ROOT)}"\n{ceiling}',
            f'[callers.bot]\ndid = "{did_of_seed(BOT)}"\n{actors}',
            f"capabilities = {list(self.listed)}",
            f"proofs = {[str(one) for one in files]}",
            f'[gate]\nkind = "rules"\ndefault = "{self.default}"',
        ]
        for decision, key, pattern in self.rules:
            lines += ["[[gate.rule]]", f'decision = "{decision}"']
            lines += [f'{key} = ["{pattern}"]'] if key else []
        return "\n".join(lines) + "\n"


T = TypeVar("T")


def rarely(usual: T, *others: T) -> st.SearchStrategy[T]:
    """Return mostly *usual*: one token that does not hold hides all the others."""
    return st.sampled_from([usual] * 5 * len(others) + list(others))


some_names = st.sets(st.sampled_from(NAMES), min_size=1).map(sorted).map(tuple)
tokens = st.builds(
    Shown,
    capabilities=some_names,
    through=st.sampled_from([None, LEAD]),
    audience=rarely(BOT, OTHER),
    root=rarely(ROOT, OTHER),
    days=rarely(10.0, -1.0),
    begins_in_days=rarely(-1, 1),
    is_revoked=rarely(False, True),
    mode=rarely(0o600, 0o644),
)
worlds = st.builds(
    World,
    listed=st.lists(st.sampled_from([*NAMES, "db:*", "*"]), max_size=2).map(tuple),
    ceiling=rarely(None, ("db:read",)),
    actors=rarely(None, (), ("caller:bot",), ("os:nobody-else",)),
    rules=st.lists(
        st.tuples(
            st.sampled_from(["allow", "deny"]),
            st.sampled_from(["verbs", "tools", "callers", "actors", "packs"]),
            st.sampled_from(["*", "cmd*", "bot", "caller:*", "os:*", "*.t0"]),
        ),
        max_size=2,
    ).map(tuple),
    default=rarely("allow", "deny"),
    bearer=st.booleans(),
    max_ttl=rarely("30d", "5d"),
    tokens=st.lists(tokens, max_size=2).map(tuple),
)


def show(tokens: tuple[Shown, ...], revocations: Path) -> list[Path]:
    """Write *tokens* to files, revoke those that are, and return the files."""
    files = []
    now = int(time.time())
    for number, one in enumerate(tokens):
        path = delegated(
            f"token-{number}",
            *one.capabilities,
            through=one.through,
            audience=one.audience,
            root=one.root,
            days=one.days,
            start=min(now + one.begins_in_days * DAY, now + int(one.days * DAY) - DAY),
        )
        if one.is_revoked:
            revoke(str(revocations), digest_of(path), "now")
        path.chmod(one.mode)
        files.append(path)
    return files


@FEW
@given(world=worlds, asked=st.sampled_from(range(len(NAMES))))
def test_a_call_ends_as_was_explained(
    cli: Cli, home: Path, config: WriteConfig, world: World, asked: int
) -> None:
    """For random policies and tokens: granted or not, and what the gate would say."""
    hold("bot", BOT)
    revocations = home / "state" / "toolrt" / "revocations"
    revocations.unlink(missing_ok=True)
    config(world.config(show(world.tokens, revocations)))

    said = cli("provenance", "explain", "bot", NAMES[asked], "--json").document
    ran = cli("run", f"cmd.t{asked}", "--as", "bot", "--json")

    (gate,) = said["gate"]
    ended = "success" if ran.code == 0 else ran.error["code"]
    if gate["decision"] in ("allow", "deny"):
        assert (gate["decision"] == "deny") == (ended == "permission_denied"), ended
    if ended != "permission_denied":
        refused = ("capability_denied", "delegation_refused", "proof_file")
        granted = ended not in refused
        assert (said["decision"] == "allow") == granted, ended
        assert granted == (ended == "success"), ended
