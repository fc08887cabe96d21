"""Which keys a witness trusts: its pin and what follows from it, whatever the hub shows."""

from pathlib import Path
from typing import Any

import pytest

from quorate.identity.statements import trust_domain_statement
from quorate.identity.vkey import COSIGNATURE, SignerKey
from quorate_cli.output import BadInputError, CliError
from quorate_cli.witness.memory import Memory
from quorate_cli.witness.trust import Pinned
from tests.unit.proposals.fleet import MESH, constitution, member, seed
from tests.unit.reconcile.town import CHAIN, STANDARD, sign_domain

ME = SignerKey(f"{MESH}/w", seed("w"), COSIGNATURE)
KEYS = [SignerKey(CHAIN, seed(f"log-{number}")).verifier for number in range(4)]


def revision(number: int, previous: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A revision whose log key is the one of its number."""
    key = {"purpose": "Witness", "name": "w", "publicKey": str(ME.verifier)}
    witness = member("w", role="ComplianceWitness")
    members = [member("m0"), {**witness, "keys": [*witness["keys"], key]}]
    link = {} if previous is None else {"previousDigest": trust_domain_statement("fleet", previous).digest}
    log = {"origin": CHAIN, "keys": [str(KEYS[number])]}
    return constitution(members, {"Standard": STANDARD}, revision=number, log=log, **link, **more)


FIRST = sign_domain(revision(1))
SECOND = sign_domain(revision(2, FIRST))
THIRD = sign_domain(revision(3, SECOND))
UNSIGNED = revision(2, FIRST)
PIN = {CHAIN: trust_domain_statement("fleet", FIRST).digest}


class Hub:
    """Shows one live spec."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec

    def get(self, kind: str, name: str) -> dict[str, Any]:
        assert (kind, name) == ("TrustDomain", "fleet")
        return {"metadata": {"name": name}, "spec": self.spec}


def trusted(folder: Path, spec: dict[str, Any], **more: Any) -> list[Any]:
    """Keys that a new process trusts while the hub shows this spec."""
    pinned = Pinned("fleet", **{"pins": PIN, "log_keys": [], **more})
    found = pinned.trusted(Hub(spec), Memory(folder), ME)  # type: ignore[arg-type]
    assert found.origin == CHAIN
    return list(found.keys)


def test_signed_revisions_are_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the pin on each revision that the one before authorises is taken, and remembered without the pin."""
    for number, spec in enumerate((FIRST, SECOND, THIRD), start=1):
        assert trusted(tmp_path, spec) == [KEYS[number]]
        (tmp_path / CHAIN / "witness.json").write_text("")
        assert trusted(tmp_path, spec, pins={}) == [KEYS[number]]
    assert trusted(tmp_path, FIRST) == [KEYS[3]], "an older one that the hub shows again changes nothing"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("shown", [UNSIGNED, sign_domain({**SECOND, "previousDigest": "sha256:" + "0" * 64}), THIRD])
def test_what_does_not_follow_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shown: dict[str, Any]
) -> None:
    """A revision without signatures, of another past, or after a missing one changes no key, with a warning."""
    trusted(tmp_path, FIRST)
    assert trusted(tmp_path, shown) == [KEYS[1]]
    assert "the log keys of revision 1 stay" in capsys.readouterr().err


def test_missing_and_otherwise_authorised_revisions_are_given(tmp_path: Path) -> None:
    """A person gives a revision that the cluster shows no more, and names one that a proposal authorised."""
    trusted(tmp_path / "a", FIRST)
    given = [{"metadata": {"name": "fleet"}, "spec": SECOND}, {"metadata": {"name": "other"}, "spec": UNSIGNED}]
    assert trusted(tmp_path / "a", THIRD, given=given) == [KEYS[3]]
    trusted(tmp_path / "b", FIRST)
    digest = trust_domain_statement("fleet", UNSIGNED).digest
    assert trusted(tmp_path / "b", UNSIGNED, accepted=[digest]) == [KEYS[2]]


def test_another_first_revision_is_refused(tmp_path: Path) -> None:
    """What the pin does not name is trusted by nobody, at the first sight and later."""
    other = sign_domain({**revision(1), "phaseId": "2"})
    with pytest.raises(CliError, match="PinMismatch"):
        trusted(tmp_path, other)
    trusted(tmp_path, FIRST)
    assert trusted(tmp_path, other) == [KEYS[1]]


def test_a_log_key_needs_no_constitution(tmp_path: Path) -> None:
    """A key that is given is trusted for the log of its name, whatever the hub says."""
    stranger = SignerKey(f"{MESH}/other", seed("x")).verifier
    assert trusted(tmp_path, {}, pins={}, log_keys=[stranger, KEYS[0]]) == [KEYS[0]]


def test_nothing_is_trusted_at_first_use(tmp_path: Path) -> None:
    """Without pin, key and memory the witness does not begin; nor with two logs of one name."""
    with pytest.raises(BadInputError, match="nothing is pinned"):
        trusted(tmp_path, FIRST, pins={})
    with pytest.raises(BadInputError, match="two logs"):
        trusted(tmp_path, FIRST, pins={**PIN, "mesh-2/fleet": PIN[CHAIN]})


def test_a_key_that_counts_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A witness whose key the constitution does not have says so once, and goes on."""
    stranger = SignerKey(f"{MESH}/z", seed("z"), COSIGNATURE)
    pinned = Pinned("fleet", pins=PIN, log_keys=[])
    for _ in range(2):
        pinned.trusted(Hub(FIRST), Memory(tmp_path), stranger)  # type: ignore[arg-type]
    assert capsys.readouterr().err.count("it counts nothing") == 1
