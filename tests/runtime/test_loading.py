"""Packs found by module:attr and by entry point."""

from pathlib import Path

import pytest

from toolrt import (
    FoundPack,
    MissingPackDependencyError,
    PackLoadError,
    PackRedeclaredError,
    discover_packs,
    load_packs,
)
from toolrt.loading import load_pack

MODULE = """
from toolrt import Pack

pack = Pack("mine")

def make():
    return Pack("made", source="elsewhere")

def broken():
    raise OSError("no disk")

number = 3
needy = Pack("needy", requires=["mine"])
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"loading_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("1/0")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_pack_object_is_loaded(module: str) -> None:
    """The source of a pack without one is the name it was loaded by."""
    pack = load_pack(f"{module}:pack")

    assert (pack.name, pack.source) == ("mine", f"{module}:pack")


def test_a_function_that_makes_a_pack_is_called(module: str) -> None:
    """A source that the pack states itself is kept."""
    pack = load_pack(f"{module}:make")

    assert (pack.name, pack.source) == ("made", "elsewhere")


@pytest.mark.parametrize(
    ("suffix", "problem"),
    [
        pytest.param(":broken", "OSError: no disk", id="factory raises"),
        pytest.param(":nothing", "AttributeError", id="no such attribute"),
        pytest.param(":number", "expected a Pack, got int", id="no pack"),
        pytest.param("_broken:pack", "ZeroDivisionError", id="import raises"),
        pytest.param("_missing:pack", "ModuleNotFoundError", id="no such module"),
    ],
)
def test_what_is_no_pack_says_why(module: str, suffix: str, problem: str) -> None:
    """Each way to fail has its own words; none is a bare import error."""
    with pytest.raises(PackLoadError, match=problem):
        load_pack(module + suffix)


def test_an_entry_point_that_is_not_installed_says_so() -> None:
    """A plain name is looked up among the installed entry points."""
    with pytest.raises(PackLoadError, match="not installed"):
        load_pack("nobody-has-this")


def test_packs_are_loaded_as_listed_and_complete(module: str) -> None:
    """Unknown, duplicate and missing are told apart; nothing is added by itself."""
    (pack,) = load_packs([f"{module}:pack"])

    assert pack.name == "mine"
    with pytest.raises(PackLoadError):
        load_packs([f"{module}:pack", "nobody-has-this"])
    with pytest.raises(PackRedeclaredError, match="'mine'"):
        load_packs([f"{module}:pack", f"{module}:pack"])
    with pytest.raises(MissingPackDependencyError, match="'needy' requires 'mine'"):
        load_packs([f"{module}:needy"])
    assert len(load_packs([f"{module}:needy", f"{module}:pack"])) == 2


def test_installed_packs_are_discovered_without_an_import(
    module: str, tmp_path: Path
) -> None:
    """Entry points are listed by name, with their distribution."""
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[toolrt.packs]\nmine = no.such:module\n")

    assert FoundPack("mine", "no.such:module", "mine") in discover_packs()


def test_an_entry_point_is_loaded(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed distribution can bring a pack."""
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[toolrt.packs]\nmine = {module}:pack\n")

    assert load_pack("mine").name == "mine"
