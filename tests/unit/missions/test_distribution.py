"""The signed document of node policies: the same bytes each time, and everything that an agent must refuse."""

import json
from typing import Any

import pytest

from quorate.canonical import canonical_bytes, digest_of_bytes
from quorate.identity.ed25519 import public_key_of
from quorate.missions.distribution import (
    MAX_BYTES,
    DistributionRefusedError,
    Seen,
    asked_of,
    document_of,
    entry_of,
    parse,
    sign,
)
from quorate.missions.fleet import covers, longest_deadline, union
from quorate.missions.policies import compile_policy

SEED = bytes(range(32))
PUBLIC = public_key_of(SEED)
HUB = "00000000-0000-4000-8000-000000000000"
SPEC: dict[str, Any] = {"mode": "Audit", "memory": {"limit": "20Gi"}}


def made(serial: int = 3, *names: str) -> bytes:
    """A document of policies with these names."""
    return document_of(serial, HUB, [entry_of(name, "", SPEC) for name in names or ("b", "a")], {"ns": {"team": "x"}})


def refusal(data: bytes, signature: Any = None, **more: Any) -> DistributionRefusedError:
    """Why an agent refuses it."""
    with pytest.raises(DistributionRefusedError) as caught:
        parse(data, sign(data, SEED) if signature is None else signature, PUBLIC, **more)
    return caught.value


def test_the_same_policies_give_the_same_bytes() -> None:
    """In whatever order they come; and the signature is the same too."""
    one, other = made(3, "a", "b"), made(3, "b", "a")
    assert one == other
    assert sign(one, SEED) == sign(other, SEED)
    assert one != made(4, "a", "b")


def test_what_was_made_is_read() -> None:
    """Serial, hub, namespaces, and policies in order, compiled."""
    data = made()
    found = parse(data, sign(data, SEED), PUBLIC)
    assert (found.serial, found.hub, found.digest) == (3, HUB, digest_of_bytes(data))
    assert [policy.name for policy in found.policies] == ["a", "b"]
    assert found.policies[0].source == SPEC
    assert found.namespaces == {"ns": {"team": "x"}}
    assert found.seen == Seen(3, found.digest)


@pytest.mark.parametrize("bit", range(0, 8 * len(made()), 97))
def test_any_changed_bit_is_refused(bit: int) -> None:
    """The signature covers every byte."""
    data = bytearray(made())
    data[bit // 8] ^= 1 << bit % 8
    assert refusal(bytes(data), sign(made(), SEED)).field == "signature"


@pytest.mark.parametrize("signature", ["", "A" * 86, "A" * 85, None, 7, "é" * 86])
def test_what_is_no_signature_is_refused(signature: Any) -> None:
    """Whatever stands in its place, it is a refusal and no error."""
    with pytest.raises(DistributionRefusedError, match="is not of the operator's Machine key"):
        parse(made(), signature, PUBLIC)


def test_a_rollback_is_refused() -> None:
    """An older serial, or the same with other bytes; the same document again is fine."""
    known = parse(made(3), sign(made(3), SEED), PUBLIC).seen
    older = refusal(made(2), known=known)
    assert (older.field, older.value) == ("serial", 2)
    assert "serial 3 was accepted before" in older.rule
    assert refusal(made(3, "c"), known=known).field == "serial"
    assert parse(made(3), sign(made(3), SEED), PUBLIC, known=known).serial == 3
    assert parse(made(4), sign(made(4), SEED), PUBLIC, known=known).serial == 4


FORMS: list[tuple[dict[str, Any], str]] = [
    ({"format": "quorate.dev/node-policies/v2"}, "format"),
    ({"serial": 0}, "serial"),
    ({"serial": True}, "serial"),
    ({"serial": "3"}, "serial"),
    ({"hub": ""}, "hub"),
    ({"hub": 7}, "hub"),
    ({"more": 1}, "document"),
    ({"policies": {}}, "policies"),
    ({"policies": [1]}, "policies[0]"),
    ({"policies": [{"name": "a"}]}, "policies[0]"),
    ({"policies": [{"name": 1, "version": "", "spec": {}}]}, "policies[0]"),
    ({"policies": [entry_of("a", "", SPEC), entry_of("a", "", SPEC)]}, "policies[1].name"),
    ({"policies": [entry_of("b", "", SPEC), entry_of("a", "", SPEC)]}, "policies[1].name"),
    ({"namespaces": []}, "namespaces"),
    ({"namespaces": {"a": {"b": 1}}}, "namespaces.a"),
]


@pytest.mark.parametrize(("fields", "field"), FORMS)
def test_other_forms_are_refused(fields: dict[str, Any], field: str) -> None:
    """Signed or not, a document has one form."""
    assert refusal(canonical_bytes({**json.loads(made()), **fields})).field == field


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", json.dumps(json.loads(made()), indent=1).encode()])
def test_other_bytes_are_refused(data: bytes) -> None:
    """Not JSON, not an object, not canonical."""
    assert refusal(data).field in ("document", "format")


def test_a_policy_of_a_newer_operator_stops_no_other() -> None:
    """What this version cannot judge is left out and told."""
    newer = {"mode": "Audit", "quantum": {"limit": 1}}
    data = document_of(1, HUB, [entry_of("a", "", newer), entry_of("b", "", SPEC)], {})
    found = parse(data, sign(data, SEED), PUBLIC)
    assert [policy.name for policy in found.policies] == ["b"]
    assert "spec.quantum" in found.refused["a"]


def test_the_size_is_bounded() -> None:
    """When it is made and when it is read."""
    big = [entry_of(f"p{number:05}", "", {**SPEC, "missionType": "x" * 60}) for number in range(9000)]
    with pytest.raises(DistributionRefusedError, match=f"9000 policies must fit into {MAX_BYTES} bytes"):
        document_of(1, HUB, big, {})
    assert refusal(b" " * (MAX_BYTES + 1)).field == "document"


def test_only_asked_labels_of_namespaces() -> None:
    """Those pairs that a policy selects by; other labels are nobody's business."""
    entry = entry_of("a", "", {**SPEC, "namespaceSelector": {"matchLabels": {"team": "x", "tier": "1"}}})
    spaces = {"n": {"team": "x", "secret": "y"}, "m": {"team": "z"}, "o": {"tier": "1"}}
    assert asked_of([entry], spaces) == {"n": {"team": "x"}, "o": {"tier": "1"}}


def test_the_union_of_selectors_is_the_smallest() -> None:
    """What is selected already is not said again; nobody's labels are everybody."""
    assert union([]) == ()
    assert union([{"a": "1", "b": "2"}, {"a": "1"}, {"c": "3"}]) == ({"a": "1"}, {"c": "3"})
    assert union([{"a": "1"}, {}]) == ({},)
    assert union([{"a": str(number)} for number in range(65)]) == ({},)
    assert covers(({"a": "1"},), {"a": "1", "b": "2"})
    assert not covers((), {"a": "1"})


def test_the_longest_deadline_is_of_enforced_policies() -> None:
    """The last step, its answer, and the time that a pod takes to go; none where nothing is touched."""
    ladder = [{"action": "Warn", "afterSeconds": 0}, {"action": "Checkpoint", "afterSeconds": 90}]
    enforced = compile_policy("a", {**SPEC, "mode": "Enforce", "ladder": ladder})
    assert longest_deadline([compile_policy("b", SPEC), enforced]) == 90 + 30 + 300
    assert longest_deadline([compile_policy("b", SPEC)]) == 0
