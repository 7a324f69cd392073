"""README and docs: their blocks are run, their tables compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import typer.main

from toolrt.ucan import CODES
from toolrt_cli.app import app
from toolrt_cli.config import model
from toolrt_cli.exit_codes import MEANINGS, Exit

ROOT = Path(__file__).parents[1]
APPS = (ROOT / "toolrt_cli").glob("app*.py")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROVENANCE = (ROOT / "docs" / "provenance.md").read_text(encoding="utf-8")
DELEGATION = (ROOT / "docs" / "delegation.md").read_text(encoding="utf-8")


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def steps(text: str) -> list[tuple[str, int, str]]:
    """Return every command of the console blocks, its exit code and its output."""
    found: list[tuple[str, int, str]] = []
    for block in blocks("console", text):
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
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(README, id="README"),
        pytest.param(PROVENANCE, id="provenance"),
        pytest.param(DELEGATION, id="delegation"),
    ],
)
def test_what_the_pages_show_runs_as_written(tmp_path: Path, text: str) -> None:
    """Each command ends with its exit code and prints what stands below it."""
    work = tmp_path / "work"
    work.mkdir()
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TZ": "UTC",
    }
    assert len(steps(text)) > 10

    for command, code, expected in steps(text):
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


def test_the_pack_that_the_docs_write_works() -> None:
    """The blocks of docs/write-a-pack.md run one after the other."""
    text = (ROOT / "docs" / "write-a-pack.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": "write_a_pack"}

    assert len(found) > 2
    for number, code in enumerate(found):
        exec(compile(code, f"write-a-pack.md:{number}", "exec"), names)


def test_the_readme_lists_every_exit_code() -> None:
    """Codes and meanings of README and program agree."""
    signals = {Exit.TIMEOUT, Exit.INTERRUPTED, Exit.BROKEN_PIPE, Exit.TERMINATED}
    for code in set(Exit) - signals:
        assert f"| {code.value} | {MEANINGS[code]} |" in README
    assert "| 124, 130, 141, 143 |" in README


def test_the_documents_of_the_commands_are_documented() -> None:
    """Every name that a command gives its document stands in docs/cli.md."""
    text = (ROOT / "docs" / "cli.md").read_text()
    code = "\n".join(
        path.read_text()
        for path in [*(ROOT / "toolrt_cli" / "commands").glob("*.py"), *APPS]
    )
    named = re.findall(r'(?:schema=|streams\.out, |streams, |ctx, )"([a-z_]+)"', code)

    assert len(set(named)) > 8
    for name in set(named) - {"result"}:
        assert f"`toolrt.{name}/1`" in text, name


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


def config_keys() -> set[str]:
    """Return every key of the config model, as the file writes it."""
    tables = [
        one
        for one in vars(model).values()
        if isinstance(one, type) and issubclass(one, msgspec.Struct)
    ]
    return {key for table in tables for key in table.__struct_encode_fields__}


def test_every_config_key_is_documented() -> None:
    """docs/config.md names each key of each table."""
    text = (ROOT / "docs" / "config.md").read_text()
    words = set(re.findall(r"[a-zA-Z_]+", " ".join(re.findall(r"`([^`]+)`", text))))

    tables = {"gate", "runtime", "store", "callers", "pack", "handler", "middleware"}
    assert config_keys() - words - tables == set()


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


def test_every_code_of_a_refused_token_is_explained() -> None:
    """The page has a line for each code, in the words of the code's table."""
    page = (ROOT / "docs" / "delegation-tokens.md").read_text(encoding="utf-8")
    stated = dict(
        re.findall(r"^\| `(\w+)` \| (.*) \|$", page.split("## Codes")[1], re.MULTILINE)
    )

    assert stated == dict(CODES)
