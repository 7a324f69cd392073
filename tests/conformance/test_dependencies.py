"""What packs require of each other."""

import pytest

from toolrt import (
    CircularPackDependencyError,
    MissingPackDependenciesError,
    MissingPackDependencyError,
    Pack,
)

from .samples import build


def test_a_required_pack_loads_before_the_one_that_requires_it() -> None:
    """The order of registration does not matter."""
    registry = build(Pack("loans", requires=["books"]), Pack("books"))

    assert registry.pack_requires("loans") == ("books",)
    assert registry.pack_names() == ("books", "loans")


def test_a_missing_pack_fails_the_build_with_both_names() -> None:
    """No pack is added by itself."""
    with pytest.raises(MissingPackDependencyError, match=r"'loans'.*'books'") as caught:
        build(Pack("loans", requires=["books"]))

    assert (caught.value.from_pack, caught.value.requires) == ("loans", "books")


def test_several_missing_packs_are_one_error() -> None:
    """Everything that is missing is told at once."""
    with pytest.raises(MissingPackDependenciesError) as caught:
        build(Pack("loans", requires=["books", "readers"]))

    assert [one.requires for one in caught.value.missing] == ["books", "readers"]


def test_packs_that_require_each_other_fail_the_build() -> None:
    """The cycle is told from the pack registered first, closed with its name."""
    with pytest.raises(
        CircularPackDependencyError, match="hen -> egg -> hen"
    ) as caught:
        build(Pack("hen", requires=["egg"]), Pack("egg", requires=["hen"]))

    assert caught.value.cycle == ("hen", "egg", "hen")


def test_packs_without_requirements_build() -> None:
    """They require nothing, which is not the same as being unknown."""
    registry = build(Pack("one"), Pack("two"))

    assert [registry.pack_requires(name) for name in ("one", "two")] == [(), ()]
