"""Packs found by module:attr and by entry point."""

from pathlib import Path

import pytest

from toolrt import (
    FoundPack,
    MissingPackDependencyError,
    PackLoadError,
    PackRedeclaredError,
    PacksNotLoadedError,
    UnknownPackError,
    discover_packs,
    load_packs,
    try_load_packs,
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


def test_the_built_in_pack_has_a_name_too() -> None:
    """It needs no entry point."""
    (pack,) = load_packs(["std"])

    assert pack.source == "built-in"


def test_packs_are_loaded_as_listed_and_complete(module: str) -> None:
    """Unknown, duplicate and missing are told apart; nothing is added by itself."""
    (pack,) = load_packs([f"{module}:pack"])

    assert pack.name == "mine"
    with pytest.raises(UnknownPackError, match="'nobody-has-this': not installed"):
        load_packs([f"{module}:pack", "nobody-has-this"])
    with pytest.raises(PackRedeclaredError, match="'mine'"):
        load_packs([f"{module}:pack", f"{module}:pack"])
    with pytest.raises(MissingPackDependencyError, match="'needy' requires 'mine'"):
        load_packs([f"{module}:needy"])
    assert len(load_packs([f"{module}:needy", f"{module}:pack"])) == 2


def test_an_unknown_pack_is_told_with_those_there_are() -> None:
    """By name and by attribute, so that a program can offer them."""
    with pytest.raises(UnknownPackError, match=r"installed packs: .*std") as caught:
        load_pack("nobody-has-this")

    assert caught.value.name == "nobody-has-this"
    assert "std" in caught.value.available
    assert caught.value.code == "unknown_pack"


def test_every_name_is_tried_before_the_failures_are_told(module: str) -> None:
    """In the order asked for, each with its own class; one is raised as it is."""
    names = [f"{module}_broken:pack", f"{module}:pack", "nobody", f"{module}:number"]
    with pytest.raises(PacksNotLoadedError, match=r"ZeroDivisionError.*expected") as c:
        load_packs(names)

    assert [failure.name for failure in c.value.failures] == [
        f"{module}_broken:pack",
        "nobody",
        f"{module}:number",
    ]
    assert isinstance(c.value.failures[1], UnknownPackError)
    assert c.value.name == f"{module}_broken:pack"
    assert isinstance(c.value, PackLoadError)


def test_the_packs_that_can_be_loaded_are_to_be_had(module: str) -> None:
    """A broken one takes no other with it; its failure stands beside them."""
    loaded = try_load_packs([f"{module}_broken:pack", f"{module}:needy", "std"])

    assert [pack.name for pack in loaded.packs] == ["needy", "std"]
    (failure,) = loaded.failures
    assert isinstance(failure.__cause__, ZeroDivisionError)


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


def test_a_failure_behind_an_entry_point_has_the_name_asked_for(
    module: str, tmp_path: Path
) -> None:
    """What it leads to is nothing that the operator wrote down."""
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    points = f"[toolrt.packs]\nmine = {module}_broken:pack\n"
    (info / "entry_points.txt").write_text(points)

    with pytest.raises(PackLoadError, match="'mine': ZeroDivisionError") as caught:
        load_pack("mine")

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
