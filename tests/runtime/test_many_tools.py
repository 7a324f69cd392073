"""A registry of 500 tools: each is found, called and counted as itself."""

from toolrt import Pack, Registry, RegistryBuilder

PACKS, EACH = 25, 20


def numbered(number: int) -> Pack:
    """Return a pack whose tools tell their own names; each requires the one before."""
    pack = Pack(f"p{number}", requires=[f"p{number - 1}"] if number else [])
    for index in range(EACH):
        name = f"p{number}.t{index}"

        @pack.handler(name)
        def tell(extra: int = 0, *, name: str = name) -> str:
            return f"{name}+{extra}"

    return pack


def many() -> Registry:
    builder = RegistryBuilder()
    for number in reversed(range(PACKS)):
        builder.register(numbered(number))
    return builder.build()


def test_each_of_many_tools_answers_for_itself() -> None:
    """By verb and by tool id; listings and metrics have every one of them."""
    registry = many()
    names = [f"p{n}.t{i}" for n in range(PACKS) for i in range(EACH)]

    by_verb = [registry.dispatch(name, {"extra": 1}) for name in names]
    by_id = [registry.dispatch(f"{n.partition('.')[0]}:{n}") for n in names]

    assert by_verb == [f"{name}+1" for name in names]
    assert by_id == [f"{name}+0" for name in names]
    assert [definition.name for definition in registry.all_verbs()] == names
    assert [metric.count for metric in registry.metrics()] == [2] * len(names)
