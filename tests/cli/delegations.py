"""Delegation tokens in files, and a config that trusts whoever issued them."""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from toolrt.ucan import did_of_seed, issue, token_digest

ROOT: Final = bytes([1]) * 32
LEAD: Final = bytes([2]) * 32
BOT: Final = bytes([3]) * 32
OTHER: Final = bytes([4]) * 32
DAY: Final = 86_400


def config_with(*proofs: Path) -> str:
    """Return a config in which the bot shows *proofs* and the root key is trusted."""
    listed = ", ".join(f'"{path}"' for path in proofs)
    return f"""\
[[ucan.root]]
did = "{did_of_seed(ROOT)}"
[callers.bot]
did = "{did_of_seed(BOT)}"
proofs = [{listed}]
"""


def delegated(
    name: str,
    *capabilities: str,
    days: float = 10,
    through: bytes | None = LEAD,
    audience: bytes = BOT,
    root: bytes = ROOT,
    meta: Mapping[str, Any] | None = None,
    bindings: Mapping[str, Any] | None = None,
    start: int | None = None,
) -> Path:
    """Write a token for the bot to a file of its own, through *through* or directly."""
    now = int(time.time())
    expires = now + int(days * DAY)
    start = min(now, expires) - DAY if start is None else start
    key, proof = root, None
    if through is not None:
        key = through
        proof = issue(
            root,
            audience=did_of_seed(through),
            capabilities=[*capabilities, "fs:write"],
            expires=max(expires, now + 20 * DAY),
            not_before=start,
        )
    text = issue(
        key,
        audience=did_of_seed(audience),
        capabilities=capabilities,
        expires=expires,
        not_before=start,
        proof=proof,
        meta=meta,
        bindings=bindings,
    )
    path = Path(name).absolute()
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    os.chmod(path, 0o600)
    return path


def digest_of(path: Path) -> str:
    """Return the digest by which the token in *path* is known."""
    return token_digest(path.read_text().strip())


def hold(name: str, seed: bytes) -> Path:
    """Make *seed* the key of the identity *name* of the test's home."""
    directory = Path(os.environ["XDG_STATE_HOME"]) / "toolrt" / "identities"
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    path = directory / f"{name}.key"
    path.touch(mode=0o600)
    path.write_text(seed.hex() + "\n")
    return path


def wait_for_lock(process: "subprocess.Popen[Any]") -> None:
    """Return once *process* waits for a lock that somebody else holds, or has ended."""
    while process.poll() is None and not any(
        "->" in line and str(process.pid) in line.split()
        for line in Path("/proc/locks").read_text().splitlines()
    ):
        time.sleep(0.01)
