"""What is wrong with the trusted issuers of a config, each alone and all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolrt_cli.config.faults import quote
from toolrt_cli.config.problems import Problem


def root_problems(roots: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """
    Yield what is wrong with the tables *roots*.

    One issuer has one table: of two ceilings, one would silently not count.
    """
    seen = set()
    for index, root in enumerate(roots):
        did = root.get("did")
        if isinstance(did, str) and did in seen:
            message = "another root has this DID already"
            yield Problem(path=("ucan", "root", index, "did"), message=message)
        if isinstance(did, str):
            seen.add(did)
        listed = root.get("capabilities")
        for place, name in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(name, str) and set("*?") & set(name):
                message = (
                    f"expected the exact name of a capability, got {quote(name)}:"
                    " a ceiling takes no patterns"
                )
                path = ("ucan", "root", index, "capabilities", place)
                yield Problem(path=path, message=message)
