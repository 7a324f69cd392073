"""Runs a built-in tool as the pipeline would."""

from __future__ import annotations

from typing import Any

import pytest

from toolrt.context import CallContext
from toolrt.errors import ToolError
from toolrt.schema import compile_check, defaults_of, with_defaults
from toolrt.std import StdSettings, std_pack

from ..bindings.calls import context


def call(
    verb: str,
    settings: StdSettings | None = None,
    ctx: CallContext | None = None,
    /,
    **params: Any,
) -> Any:
    """Run *verb* as the pipeline would: arguments checked, defaults filled in."""
    pack = std_pack(settings or StdSettings())
    (bound,) = (b for b in pack.bound_handlers if b.definition.name == verb)
    params = with_defaults(defaults_of(bound.definition.input_schema), params)
    assert compile_check(bound.definition.input_schema)(params) == ()
    return bound.call(params, ctx or context())


def code_of(
    verb: str,
    settings: StdSettings | None = None,
    ctx: CallContext | None = None,
    /,
    **params: Any,
) -> str:
    """Return the code that *verb* fails with, which is one that it declares."""
    with pytest.raises(ToolError) as caught:
        call(verb, settings, ctx, **params)
    (declared,) = (d.errors for d in std_pack().handlers if d.name == verb)
    assert caught.value.code in declared
    return caught.value.code
