"""What the packages export, and what a start imports."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: What `toolrt run` must not import: each costs
#: between 10 and 170 ms of a start.
FORBIDDEN = (
    "rich",
    "sqlite_utils",
    "pydantic",
    "asyncio",
    "importlib.metadata",
    "typer",
)


@pytest.mark.parametrize(
    "name", ["toolrt", "toolrt.ucan", "toolrt_store", "toolrt_cli.config"]
)
def test_all_names_exactly_what_the_package_imports(name: str) -> None:
    """__all__ is sorted, complete and importable."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("toolrt")
        for alias in node.names
    }
    public = {one for one in imported if not one.startswith("_") and one[0].isupper()}

    assert public <= set(module.__all__)
    assert all(hasattr(module, one) for one in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


def test_sinks_that_queue_are_public_and_made_when_asked_for(tmp_path: Path) -> None:
    """Each is importable from toolrt, and a start without sinks has none of them."""
    before = modules_after(RUN, tmp_path)
    later = {"toolrt.audit.queue_sink", "toolrt.audit.json_lines", "toolrt.audit.tee"}
    assert before.isdisjoint({*later, "logging"})

    names = "QueueSink, JsonLinesAuditSink, TeeSink"
    assert later <= modules_after(f"from toolrt import {names}", tmp_path)
    with pytest.raises(AttributeError, match="NoSuchSink"):
        importlib.import_module("toolrt").NoSuchSink  # noqa: B018


def modules_after(code: str, home: Path) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={
            "HOME": str(home),
            "XDG_STATE_HOME": str(home),
            "PATH": "/usr/bin:/bin",
        },
        cwd=home,
    )
    return set(done.stderr.split())


RUN = "from toolrt_cli.main import main\nassert main(['run', 'echo.say']) == 0"


def test_a_run_imports_nothing_that_costs_a_start(tmp_path: Path) -> None:
    """The second run of a no-op tool: the first makes the store, with sqlite-utils."""
    modules_after(RUN, tmp_path)

    loaded = modules_after(RUN, tmp_path)

    assert loaded.isdisjoint(FORBIDDEN)


def test_a_run_looks_at_no_signature(tmp_path: Path) -> None:
    """`inspect` is for packs of functions; msgspec alone may bring it, by a way round."""
    modules_after(RUN, tmp_path)
    alone = "sys.modules['typing_extensions'] = None"

    loaded = modules_after(f"{alone}\n{RUN}", tmp_path)

    assert loaded.isdisjoint({"inspect", "toolrt.bindings.native"})


def test_the_first_run_needs_sqlite_utils_and_no_more(tmp_path: Path) -> None:
    """The test above can fail: making the store does import a forbidden module."""
    assert "sqlite_utils" in modules_after(RUN, tmp_path)


@pytest.mark.parametrize("words", [["--version"], ["__complete", "tools"]])
def test_tab_and_version_do_not_import_typer(tmp_path: Path, words: list[str]) -> None:
    """They are answered before Typer, a store or Rich."""
    code = f"from toolrt_cli.main import main\nassert main({words}) == 0"

    loaded = modules_after(code, tmp_path)

    assert loaded.isdisjoint({*FORBIDDEN, "toolrt_store", "sqlite3", "pysqlite3"})


def test_the_second_tab_imports_next_to_nothing(tmp_path: Path) -> None:
    """What was remembered is printed, and neither typing nor the runtime is there."""
    tab = "from toolrt_cli.main import main\nassert main(['__complete', 'tools']) == 0"
    own = {"toolrt_cli", "toolrt_cli.main", "toolrt_cli.remembered"}

    first, second = modules_after(tab, tmp_path), modules_after(tab, tmp_path)

    assert "toolrt" in first
    assert {name for name in second if name.startswith("toolrt")} == own
    assert second - modules_after("", tmp_path) == {*own, "pwd", "__future__"}


def test_the_runtime_imports_neither_store_nor_cli(tmp_path: Path) -> None:
    """`import toolrt` is the runtime alone."""
    loaded = modules_after("import toolrt", tmp_path)

    assert loaded.isdisjoint({"toolrt_store", "toolrt_cli", "sqlite3", "pysqlite3"})


def test_delegation_is_imported_where_there_is_a_token(tmp_path: Path) -> None:
    """A call without one pays for neither its rules nor its signatures."""
    loaded = modules_after(RUN, tmp_path) | modules_after("import toolrt", tmp_path)
    assert loaded.isdisjoint({"toolrt.ucan", "toolrt.ucan.verify"})

    assert "nacl" not in modules_after("import toolrt.ucan", tmp_path)


def test_no_file_of_the_store_is_opened_by_hand() -> None:
    """Closing a descriptor of a database drops SQLite's locks: only files.py opens."""
    for path in (ROOT / "store" / "toolrt_store").glob("*.py"):
        if path.name == "files.py":
            continue
        names = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "open" not in names, path.name
