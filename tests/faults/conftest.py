"""A home of its own for processes that are killed."""

import os
from pathlib import Path

import pytest

CONFIG = """
[runtime]
packs = ["std", "cmd"]
[pack.cmd.handler."cmd.hold"]
command = ["sh", "-c", "echo $$ > \\"$0\\"; sleep 60", "{file}"]
tier = "cold"
[pack.cmd.handler."cmd.hold".args]
file = { type = "string" }
[pack.cmd.handler."cmd.tree"]
command = ["sh", "-c", "sleep 61 & setsid sleep 62 & trap '' TERM; sleep 63 & wait"]
timeout = "300ms"
[pack.cmd.handler."cmd.mark"]
command = ["touch", "{file}"]
[pack.cmd.handler."cmd.mark".args]
file = { type = "string" }
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("TOOLRT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "config" / "toolrt" / "toolrt.toml"
    path.parent.mkdir(parents=True)
    path.write_text(CONFIG)
    return tmp_path
