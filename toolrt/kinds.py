"""How a record of one kind is made: the pack's own insert, between the kind's hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from toolrt.registry import Registry


def create_with_hook(
    registry: Registry,
    kind: str,
    args: Mapping[str, Any],
    insert: Callable[[dict[str, Any]], str],
) -> str:
    """
    Return the id of a new record of *kind*, made as the owner of the kind wants it.

    For the handler that creates. Without a hook for *kind* this is *insert* alone.

    Args:
        registry: ``ctx.registry``.

        args: What the record is made from. The hook is given a copy to fill in.

        insert: Writes the record and returns its id.

    Raises:
        Exception: What ``prepare_create`` raised, and nothing was written; or what
            *insert* raised. What ``after_create`` raises is logged: the record stands.
    """
    hook = registry.find_kind_hook(kind)
    prepared = dict(args)
    if hook is None:
        return insert(prepared)
    hook.prepare_create(registry, prepared)
    created = insert(prepared)
    try:
        hook.after_create(registry, created, prepared)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - the plugin boundary: the write has succeeded
        _log(kind, created, exc)
    return created


def _log(kind: str, created: str, exc: BaseException) -> None:
    import logging

    logger = logging.getLogger(__name__)
    logger.error("the hook of %s raised after %s", kind, created, exc_info=exc)
