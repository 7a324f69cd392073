"""README and docs: their blocks are run, their tables compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from toolrt_cli.app import app
from toolrt_cli.exit_codes import MEANINGS, Exit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def steps() -> list[tuple[str, int, str]]:
    """Return every command of the console blocks, its exit code and its output."""
    found: list[tuple[str, int, str]] = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            command = [lines.pop(0)]
            while lines and (lines[0] == ">" or lines[0].startswith("> ")):
                command.append(lines.pop(0)[2:])
            expected = re.search(r"# exit (\d+)$", command[0])
            code = int(expected[1]) if expected else 0
            found.append(("\n".join(command), code, "\n".join(lines)))
    return found


@pytest.mark.slow
def test_the_tour_of_the_readme_runs_as_written(tmp_path: Path) -> None:
    """Each command ends with its exit code and prints what stands below it."""
    work = tmp_path / "work"
    work.mkdir()
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    assert len(steps()) > 10

    for command, code, expected in steps():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=work,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        pattern = re.escape(expected).replace("…", "(?:.|\n)*?")
        assert done.returncode == code, f"{command}\n{done.stdout}"
        assert re.fullmatch(pattern, done.stdout.rstrip("\n")), (
            f"{command}\n{done.stdout}"
        )


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library example of the README holds."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")

    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})

    assert os.path.exists("audit.db")


def test_the_readme_lists_every_exit_code() -> None:
    """Codes and meanings of README and program agree."""
    signals = {Exit.TIMEOUT, Exit.INTERRUPTED, Exit.BROKEN_PIPE, Exit.TERMINATED}
    for code in set(Exit) - signals:
        assert f"| {code.value} | {MEANINGS[code]} |" in README
    assert "| 124, 130, 141, 143 |" in README


def command_paths() -> list[str]:
    """Return every command, as ``toolrt pack list``."""
    found = []
    for name, command in typer.main.get_group(app).commands.items():
        inner = getattr(command, "commands", None)
        found += [f"{name} {leaf}" for leaf in inner] if inner else [name]
    return [f"toolrt {path}" for path in found]


@pytest.mark.parametrize("path", command_paths())
def test_every_command_is_documented(path: str) -> None:
    """docs/cli.md names each command."""
    assert f"`{path}" in (ROOT / "docs" / "cli.md").read_text()


def test_every_parameter_has_help() -> None:
    """Each command has a sentence, each option its own."""
    for command in typer.main.get_group(app).commands.values():
        for leaf in getattr(command, "commands", {"": command}).values():
            assert leaf.help, leaf.name
            for parameter in leaf.params:
                if parameter.opts[0].startswith("-"):
                    assert getattr(parameter, "help", None), (leaf.name, parameter.name)


def test_the_documents_do_not_name_missing_files() -> None:
    """Every path in backticks that looks like one of ours exists."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:docs|examples|benchmarks)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{path.name}: {name}"
