"""Packs that are loaded by name."""

from pathlib import Path

import pytest

from toolrt import (
    FoundPack,
    MissingPackDependencyError,
    PackLoadError,
    discover_packs,
    load_packs,
)

MODULE = """
from toolrt import Pack

books = Pack("books")
loans = Pack("loans", requires=["books"])
"""
ENTRY_POINTS = """
[toolrt.packs]
{0}-books = {0}:books
{0}-loans = {0}:loans
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A distribution with two packs; its name is that of its one module."""
    name = f"conforming_{tmp_path.name.replace('-', '_')}"
    facts = tmp_path / f"{name}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS.format(name))
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_installed_packs_are_listed_by_name(installed: str) -> None:
    """Each is there with its target and the distribution that offers it."""
    found = [pack for pack in discover_packs() if pack.distribution == installed]

    assert found == [
        FoundPack(f"{installed}-{name}", f"{installed}:{name}", installed)
        for name in ("books", "loans")
    ]


def test_packs_are_loaded_by_their_names(installed: str) -> None:
    """What is required has to be in the list, in whatever place."""
    packs = load_packs([f"{installed}-loans", f"{installed}-books"])

    assert [pack.name for pack in packs] == ["loans", "books"]


def test_a_name_that_nobody_offers_is_told(installed: str) -> None:
    """The error names the pack that was asked for."""
    with pytest.raises(PackLoadError) as caught:
        load_packs([f"{installed}-books", "nobody-offers-this"])

    assert caught.value.name == "nobody-offers-this"


def test_a_required_pack_is_never_added_by_itself(installed: str) -> None:
    """Leaving it out is an error with both names, of another class than an unknown."""
    with pytest.raises(MissingPackDependencyError) as caught:
        load_packs([f"{installed}-loans"])

    assert (caught.value.from_pack, caught.value.requires) == ("loans", "books")
