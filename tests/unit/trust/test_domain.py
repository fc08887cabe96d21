"""The electorate, and the chain of accepted revisions."""

from typing import Any

import pytest

from quorate.api.schema import Privilege, Role
from quorate.canonical import digest_of
from quorate.trust.domain import PRIVILEGES, DomainHistory, MemberKey
from tests.unit.trust.domains import NODES, after, changed, first, history, key, member, revision

ONE = first()
TWO = after(ONE, "ann", "bob", drift="Report")
THREE = after(TWO, "ann", "bob", drift="Restore")
DIGESTS = [revision(spec).digest for spec in (ONE, TWO, THREE)]


class TestElectorate:
    @pytest.mark.parametrize(
        ("fields", "votes"),
        [
            ({}, True),
            ({"role": "ComplianceWitness"}, True),
            ({"role": "TrustFork"}, False),
            ({"learner": True}, False),
            ({"suspended": True}, False),
            ({"learner": False, "suspended": False}, True),
            ({"learner": None, "suspended": None}, True),
            ({"weight": 0}, True),
            ({"keys": []}, True),
        ],
        ids=str,
    )
    def test_who_votes(self, fields: dict[str, Any], votes: bool) -> None:
        """Every member whose role may vote, neither learner nor suspended; weight and keys do not matter."""
        domain = revision(first(members=[member(0), member(1, **fields)]))
        assert [item.node_id for item in domain.electorate.members] == [NODES[0], NODES[1]][: 1 + votes]

    def test_document(self) -> None:
        """Members in nodeId order, voteThreshold 1 where it is absent, the total of the weights."""
        double = member(0, keys=[key("a"), key("b")], voteThreshold=2, weight=7)
        domain = revision(first(members=[member(2), double, member(1, learner=True)]))
        assert domain.electorate.document == {
            "domainDigest": domain.digest,
            "members": [
                {"nodeId": NODES[0], "role": "GovernanceHub", "weight": 7, "voteThreshold": 2},
                {"nodeId": NODES[2], "role": "GovernanceHub", "weight": 100, "voteThreshold": 1},
            ],
            "totalWeight": 107,
        }
        assert domain.electorate.digest == digest_of(domain.electorate.document)

    def test_vote_threshold_one_is_written(self) -> None:
        """A written 1 and an absent one are two revisions with the same members in the electorate."""
        written, absent = revision(first(members=[member(0, voteThreshold=1)])), revision(first(members=[member(0)]))
        assert written.electorate.document["members"] == absent.electorate.document["members"]
        assert written.digest != absent.digest

    def test_empty(self) -> None:
        """Without voters the electorate is empty and weighs nothing."""
        domain = revision(first(members=[]))
        assert (domain.electorate.members, domain.electorate.total_weight) == ((), 0)

    def test_role_table(self) -> None:
        """A hub may everything, a witness validates and votes, a fork validates."""
        assert PRIVILEGES[Role.GOVERNANCE_HUB] == set(Privilege)
        assert PRIVILEGES[Role.COMPLIANCE_WITNESS] == {Privilege.VALIDATE_ATTESTATION, Privilege.VOTE_ON_PROPOSAL}
        assert PRIVILEGES[Role.TRUST_FORK] == {Privilege.VALIDATE_ATTESTATION}


class TestRevision:
    def test_digest_covers_the_name_and_not_the_signatures(self) -> None:
        """The statement is the spec without signatures, plus the name; null is absent."""
        bare = {name: value for name, value in ONE.items() if name not in ("signatures", "log")}
        digest = revision(bare).digest
        assert revision({**bare, "signatures": ONE["signatures"], "parent": None}).digest == digest
        assert revision(bare, "other").digest != digest

    def test_optional_parts(self) -> None:
        """What is absent is empty or None, never a default that was not signed."""
        domain = revision(changed(ONE, {"recovery": None, "log": None, "contracts": None, "voting": None}))
        assert (dict(domain.recovery_keys), domain.log_keys, dict(domain.contracts)) == ({}, (), {})
        assert domain.rules("Standard") is None

    def test_rules_are_as_written(self) -> None:
        """Rules of a type hold what is written; an absent type has none."""
        domain = revision(ONE)
        assert dict(domain.rules("Emergency") or {}) == {"votingPeriodSeconds": 600, "ratificationSeconds": 7200}
        assert domain.rules("Constitutional") is None

    def test_key_is_found_by_purpose_and_name(self) -> None:
        """One name may stand once per purpose, so the purpose chooses."""
        keys = [key("a", name="x"), key("b", "Machine", name="x")]
        found = revision(first(members=[member(0, keys=keys)])).members[NODES[0]]
        assert [item and item.public_key for item in (found.key("Vote", "x"), found.key("Machine", "x"))] == [
            keys[0]["publicKey"],
            keys[1]["publicKey"],
        ]
        assert found.key("Vote", "y") is None

    def test_not_after(self) -> None:
        """A key signs until the second before notAfter."""
        assert [MemberKey("Vote", "a", "", 10).valid_at(second) for second in (9, 10, 11)] == [True, False, False]
        assert MemberKey("Vote", "a", "").valid_at(2**40)


class TestHistory:
    @pytest.mark.parametrize(
        ("second", "number"),
        [(99, None), (100, 1), (199, 1), (200, 2), (201, 2), (299, 2), (300, 3), (10**9, 3)],
    )
    def test_in_force_at(self, second: int, number: int | None) -> None:
        """A revision is in force from the second in which it was recorded."""
        found = history(ONE, TWO, THREE).at(second)
        assert (found and found.revision) == number

    def test_two_in_one_second(self) -> None:
        """Of several recorded in one second the highest is in force."""
        found = history(ONE, TWO, THREE, seconds=[100, 100, 300]).at(100)
        assert found is not None
        assert found.revision == 2

    def test_seconds_that_go_back(self) -> None:
        """A successor never is in force before its predecessor."""
        chain = history(ONE, TWO, THREE, seconds=[100, 300, 200])
        assert [(item := chain.at(second)) and item.revision for second in (99, 200, 299, 300)] == [None, 1, 1, 3]
        assert [chain.recorded(number) for number in (1, 2, 3)] == [100, 300, 300]

    def test_numbers_without_gap(self) -> None:
        """A history begins with 1, has no gap, and is not empty."""
        for specs in ((TWO,), (ONE, THREE), (ONE, ONE)):
            with pytest.raises(ValueError, match="are not 1 to"):
                history(*specs)
        with pytest.raises(ValueError, match="at least one"):
            DomainHistory([])

    @pytest.mark.parametrize(
        ("digests", "agrees"),
        [
            ([], True),
            (DIGESTS[:1], True),
            (DIGESTS[:2], True),
            (DIGESTS, True),
            (DIGESTS[1:], False),
            ([DIGESTS[0], DIGESTS[2]], False),
            ([DIGESTS[2]], False),
        ],
    )
    def test_prefix(self, digests: list[str], agrees: bool) -> None:
        """Two chains agree when one is a prefix of the other, whichever is longer."""
        assert history(ONE, TWO).agrees_with(digests) is agrees
