"""Which file counts, in real directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolrt_cli.config import ConfigError, Located, locate


class Tree:
    """A home with a repository in it, and a user's config directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.repo = self.home / "src" / "repo"
        self.deep = self.repo / "a" / "b"
        self.own = root / "xdg" / "toolrt" / "toolrt.toml"
        self.deep.mkdir(parents=True)
        (self.repo / ".git").mkdir()
        self.environ = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(root / "xdg")}

    def add(self, file: Path) -> str:
        """Make an empty config at *file*, or in the directory *file*; return its path."""
        file = file / "toolrt.toml" if file.is_dir() else file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return str(file)

    def locate(self, cwd: Path, flag: str | None = None, **environ: str) -> Located:
        """Locate from *cwd* with more variables."""
        return locate(flag=flag, environ={**self.environ, **environ}, cwd=str(cwd))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a tree without any config."""
    return Tree(tmp_path.resolve())


def test_order(tree: Tree) -> None:
    """Flag, environment, found, user's own, default: the first that there is counts."""
    flag = tree.add(tree.root / "flag.toml")
    variable = tree.add(tree.root / "variable.toml")
    found = tree.add(tree.repo)
    own = tree.add(tree.own)

    assert tree.locate(tree.deep, flag, TOOLRT_CONFIG=variable) == Located(flag, "flag")
    assert tree.locate(tree.deep, TOOLRT_CONFIG=variable) == Located(
        variable, "environment"
    )
    assert tree.locate(tree.deep) == Located(found, "found")
    Path(found).unlink()
    assert tree.locate(tree.deep) == Located(own, "user")
    Path(own).unlink()
    assert tree.locate(tree.deep) == Located(None, "default")


def test_nearest_is_found(tree: Tree) -> None:
    """Of two files on the way up the nearer counts."""
    tree.add(tree.repo)
    nearer = tree.add(tree.deep.parent)

    assert tree.locate(tree.deep) == Located(nearer, "found")


def test_search_ends_at_the_repository(tree: Tree) -> None:
    """What stands above the repository's root is none of its business."""
    above = tree.add(tree.repo.parent)

    assert tree.locate(tree.deep).origin == "default"
    assert tree.locate(tree.repo.parent) == Located(above, "found")


def test_a_git_file_marks_a_root(tree: Tree) -> None:
    """In a worktree or submodule .git is a file."""
    (tree.deep / ".git").write_text("gitdir: elsewhere\n")
    tree.add(tree.repo)

    assert tree.locate(tree.deep).origin == "default"


def test_search_ends_at_home(tree: Tree) -> None:
    """Home is searched, what is above it is not."""
    tree.add(tree.root)

    assert tree.locate(tree.home / "src").origin == "default"
    at_home = tree.add(tree.home)
    assert tree.locate(tree.home / "src") == Located(at_home, "found")


def test_search_outside_of_home(tree: Tree) -> None:
    """Outside of home and of repositories the search goes on to the root."""
    outside = tree.root / "srv" / "x"
    outside.mkdir(parents=True)
    found = tree.add(tree.root)

    assert tree.locate(outside) == Located(found, "found")
    assert tree.locate(Path("/")).origin in ("default", "found")


def test_working_directory_by_a_link(tree: Tree) -> None:
    """The search goes up from where the working directory is, not from its link."""
    found = tree.add(tree.repo)
    link = tree.root / "link"
    link.symlink_to(tree.deep)

    assert tree.locate(link) == Located(found, "found")


def test_own_file_that_is_found_is_the_users(tree: Tree) -> None:
    """In the user's config directory its file needs no trust."""
    own = tree.add(tree.own)

    assert tree.locate(tree.own.parent) == Located(own, "user")


def test_names_are_relative_to_the_working_directory(tree: Tree) -> None:
    """A relative name and a tilde work in the flag and in the variable."""
    beside = tree.add(tree.deep.parent / "x.toml")
    at_home = tree.add(tree.home / "y.toml")

    assert tree.locate(tree.deep, "../x.toml").path == beside
    assert tree.locate(tree.deep, TOOLRT_CONFIG="~/y.toml").path == at_home


def test_empty_variable_counts_as_none(tree: Tree) -> None:
    """An empty TOOLRT_CONFIG names nothing."""
    assert tree.locate(tree.deep, TOOLRT_CONFIG="").origin == "default"


@pytest.mark.parametrize("name", ["gone.toml", "", "x.toml/y"])
def test_named_file_must_exist(tree: Tree, name: str) -> None:
    """A name that leads nowhere is an error, never another file or the default."""
    tree.add(tree.repo)
    tree.add(tree.deep / "x.toml")

    with pytest.raises(ConfigError, match="no such config file"):
        tree.locate(tree.deep, name)


def test_named_by_the_environment_must_exist(tree: Tree) -> None:
    """The error says what named the file."""
    with pytest.raises(ConfigError, match=r"\(named by TOOLRT_CONFIG\)"):
        tree.locate(tree.deep, TOOLRT_CONFIG="gone.toml")


def test_name_with_nul(tree: Tree) -> None:
    """A name that no file can have is an error like any other."""
    with pytest.raises(ConfigError, match="cannot be read"):
        tree.locate(tree.deep, "a\0b")


def test_directory_that_cannot_be_searched(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may be there is not passed over in silence."""

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "lstat", refuse)

    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        tree.locate(tree.deep)


def test_dangling_link_is_found(tree: Tree) -> None:
    """A link to nowhere counts as the file: reading it will fail, loudly."""
    (tree.repo / "toolrt.toml").symlink_to("gone")

    assert tree.locate(tree.deep).origin == "found"
