"""The catalogue's document and what differs between two: made-up facts, every kind of sentence."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from quorate.audit.catalogue import Fact, Range, Surroundings, differences, document, partition_faults, range_of
from quorate.canonical import canonical_bytes

WIDTH = 1024
CHAIN = "mesh/domain"


def name_of(chain: str, number: int) -> str:
    """As make_partition calls it."""
    return f"audit_entry_{hashlib.md5(chain.encode()).hexdigest()}_{number}"


def partition(number: int, *, chain: str = CHAIN, fires: str = "always", version: str = "1/1") -> list[Fact]:
    """The facts of one partition."""
    name, start = name_of(chain, number), number * WIDTH
    quoted = chain.replace("'", "''")
    bounds = f"FOR VALUES FROM ('{quoted}', '{start}') TO ('{quoted}', '{start + WIDTH}')"
    return [
        Fact("partition", name, name, {"bounds": bounds}),
        Fact("relation", f"quorate.{name}", name, {"owner": "quorate_owner", "version": version}),
        Fact("trigger", f"append_only on quorate.{name}", name, {"fires": fires, "version": version}),
    ]


def table(**changes: Any) -> Fact:
    """A table of its own."""
    given = {"owner": "quorate_owner", "rights": ["quorate_app=r"], "columns": ["a int", "b int"], "version": "9/1"}
    return Fact("relation", "quorate.content", "", given | changes)


def made(*facts: Fact | Sequence[Fact], ddl: int | None = None) -> dict[str, Any]:
    """A document of these facts."""
    flat = [fact for each in facts for fact in ([each] if isinstance(each, Fact) else each)]
    return document(flat, schema={"version": 1, "digest": "sha256:0", "guard": None}, server="18.1", ddl=ddl)


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        (made(table()), made(table()), []),
        (made(table()), made(), ["relation quorate.content is gone"]),
        (made(), made(table()), ["relation quorate.content is new"]),
        (
            made(table()),
            made(table(owner="eve", version="9/2")),
            ["relation quorate.content: owner was quorate_owner, is eve"],
        ),
        (
            made(table()),
            made(table(rights=["quorate_app=rw"])),
            ["relation quorate.content: rights lost quorate_app=r, rights got quorate_app=rw"],
        ),
        (
            made(table()),
            made(table(columns=["b int", "a int"])),
            ["relation quorate.content: columns is in another order"],
        ),
        (
            made(table(), Fact("role", "x", "", {"login": False})),
            made(table(version="9/2"), Fact("role", "x", "", {"login": True})),
            [
                "role x: login was false, is true",
                "relation quorate.content was changed and put back, or made anew with the same definition",
            ],
        ),
        (
            made(table()),
            made(table(version="9/2")),
            ["all 1 objects were made anew with the same definitions: a restore or an upgrade"],
        ),
        (made(ddl=3), made(ddl=2), ["the list of what superusers did ended at row 3, now at 2"]),
        (made(ddl=3), made(), ["the list of what superusers did ended at row 3, now at none"]),
        (made(ddl=None), made(ddl=0), []),
    ],
)
def test_differences_of_objects(old: dict[str, Any], new: dict[str, Any], sentences: list[str]) -> None:
    """Each way in which an object can differ has its sentence; versions alone say that something was put back."""
    assert differences(old, new) == sentences


def test_partitions_come_and_go() -> None:
    """New ones by the rule and pruned ones are no difference; one that is gone otherwise is."""
    old, new = made(partition(0), partition(1)), made(partition(1), partition(2), partition(0, chain="mesh/it's"))
    pruned = Surroundings(sizes={CHAIN: 1500, "mesh/it's": 3}, pruned={CHAIN: WIDTH})
    assert differences(old, new, pruned) == []
    gone = name_of(CHAIN, 0)
    assert differences(old, new, Surroundings(sizes={CHAIN: 1500})) == [
        f"partition {gone} is gone: FOR VALUES FROM ('{CHAIN}', '0') TO ('{CHAIN}', '{WIDTH}')",
        f"no partition holds entries 0 to {WIDTH - 1} of chain {CHAIN}",
    ]
    assert partition_faults(made(), Surroundings(sizes={CHAIN: 1})) == [
        f"no partition holds the entries of chain {CHAIN}"
    ]


def test_a_partition_is_not_what_it_was() -> None:
    """One that deviates is named; all that deviate are said once; a version alone says that it was put back."""
    old = made(partition(0), partition(1))
    first = name_of(CHAIN, 0)
    one = made(partition(0, fires="never", version="1/2"), partition(1))
    said = "trigger append_only on quorate.it: fires was always, is never"
    assert f"partition {first}: {said}" in differences(old, one)
    assert f"every partition: {said}" in differences(
        old, made(partition(0, fires="never"), partition(1, fires="never"))
    )
    back = made(partition(0, version="1/3"), partition(1))
    assert differences(old, back) == [f"partition {first} was changed and put back, rewritten, or made anew"]
    assert differences(one, one) == []


@pytest.mark.parametrize(
    "bounds",
    [
        f"FOR VALUES FROM ('{CHAIN}', '0') TO ('{CHAIN}', '2000')",
        f"FOR VALUES FROM ('{CHAIN}', '1') TO ('{CHAIN}', '{WIDTH + 1}')",
        "FOR VALUES FROM ('a', '0') TO ('b', '1024')",
        "FOR VALUES FROM (MINVALUE, MINVALUE) TO (MAXVALUE, MAXVALUE)",
        "DEFAULT",
        "",
    ],
)
def test_a_partition_made_by_hand(bounds: str) -> None:
    """Whatever make_partition would not have made is named, also at the first look."""
    name = "audit_entry_x"
    odd = Fact("partition", name, name, {"bounds": bounds})
    assert any(f"partition {name} was made by hand" in each for each in differences(made(), made(odd)))
    assert any(name in each for each in partition_faults(made(odd), Surroundings()))


def test_ranges() -> None:
    """Quotes and backslashes in a chain id come back as they were."""
    assert range_of("FOR VALUES FROM ('m/it''s', '0') TO ('m/it''s', '9')") == Range("m/it's", 0, 9)
    assert range_of(r"FOR VALUES FROM (E'm/a\\b', '0') TO (E'm/a\\b', '9')") == Range("m/a\\b", 0, 9)


def test_documents_are_canonical_and_small() -> None:
    """A document has a canonical form whatever the order of facts; a partition costs it a few hundred bytes."""
    facts = [table(), *partition(0), *partition(1)]
    assert canonical_bytes(made(facts)) == canonical_bytes(made(facts[::-1]))
    many = [fact for number in range(100) for fact in partition(number)]
    assert len(canonical_bytes(made(many))) < 100 * 220 + 2000
