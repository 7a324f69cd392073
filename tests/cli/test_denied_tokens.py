"""What the record tells of calls that were denied although they brought a token."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli
from .delegations import BOT, config_with, delegated, hold

WriteConfig = Callable[[str], Path]


@pytest.fixture(autouse=True)
def trusting(home: Path, config: WriteConfig) -> Path:
    """The bot's key is at hand, the root key is trusted, and there is a file."""
    hold("bot", BOT)
    Path("x").write_text("milk\n")
    return config(config_with())


def read(*words: str) -> tuple[str, ...]:
    """Return the words of a call of the bot."""
    return ("run", "fs.read", "path=x", "--as", "bot", *words)


def shown(cli: Cli) -> str:
    """Return what people are shown of the newest call, up to its events."""
    return cli("audit", "show", "@last").out.partition("/gate\n")[0]


def test_the_record_claims_nothing_of_a_token_that_it_does_not_know(cli: Cli) -> None:
    """What an expired token would have granted is not told of one that granted it."""
    delegated("t", "fs:read", days=-1)
    assert cli(*read("--proof", "t")).code == 3

    told = shown(cli)

    assert "a link has expired" in told
    assert "does not grant it" not in told
