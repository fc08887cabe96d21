"""A second, naive reading of governance.md: every second is looked at from scratch, nothing is incremental.

It shares no code with the tally. Signatures are taken as good: it is about what counts, and when a vote is decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from quorate import canonical
from quorate.proposals.decision import Case

Fields = Mapping[str, Any]
parse_time = cache(canonical.parse_time)
CHOICES = ("Approve", "Reject", "Abstain", "Veto")


@dataclass(frozen=True)
class Said:
    """A vote or a delegation: its fields, when it was recorded, and its digest."""

    fields: Fields
    recorded: int
    digest: str

    @property
    def who(self) -> str:
        """The voter or attester."""
        return str(self.fields.get("voter") or self.fields.get("attester"))


@dataclass
class Oracle:
    """One domain's vote on one proposal."""

    revisions: Sequence[tuple[int, Fields]]
    votes: Sequence[Said]
    delegations: Sequence[Said]
    kind: str
    opened: int

    @classmethod
    def of(cls, case: Case) -> "Oracle":
        """From a case of one domain."""
        """From a case of one domain."""
        revisions = [(item.recorded, item.revision.spec) for item in case.history.accepted]
        votes = [Said(item.statement.fields, item.recorded, item.digest) for item in case.ballots]
        delegations = [Said(item.statement.fields, item.recorded, item.digest) for item in case.delegations]
        return cls(revisions, votes, delegations, case.type, case.opened)

    def revision(self, second: int) -> Fields:
        """What is in force at a second: a revision recorded at s is in force at s."""
        return [spec for recorded, spec in self.revisions if recorded <= second][-1]

    @property
    def electorate(self) -> dict[str, Fields]:
        """Members whose role may vote, neither learner nor suspended, in the opening revision."""
        return {
            member["nodeId"]: member
            for member in self.revision(self.opened)["members"]
            if member["role"] != "TrustFork" and not member.get("learner") and not member.get("suspended")
        }

    def key(self, second: int, who: str, name: str) -> tuple[str, int] | None:
        """(public key, notAfter) of a Vote key in force at a second."""
        for member in self.revision(second)["members"]:
            for key in member["keys"]:
                if (member["nodeId"], key["name"], key["purpose"]) == (who, name, "Vote"):
                    return key["publicKey"], parse_time(key["notAfter"]) if "notAfter" in key else 10**12
        return None

    def key_fault(self, said: Said, second: int) -> str | None:
        """UnknownKey, KeyExpired, KeyRevoked, KeyExpired (at T): in this order."""
        name = said.fields["keyName"]
        then, now = self.key(said.recorded, said.who, name), self.key(second, said.who, name)
        if then is None:
            return "UnknownKey"
        if said.recorded >= then[1]:
            return "KeyExpired"
        if now is None or now[0] != then[0]:
            return "KeyRevoked"
        return "KeyExpired" if said.recorded >= now[1] else None

    def good(self, said: Said, second: int, spared: bool) -> bool:
        """Whether the key is good at T, or with `spared` would be but for a revision after the opening."""
        if self.key_fault(said, second) is None:
            return True
        if not spared or self.key_fault(said, said.recorded) is not None:
            return False
        return any(self.key_fault(said, at) is None for at in range(max(said.recorded, self.opened), second + 1))

    def may_veto(self, who: str, rules: Fields) -> bool:
        """allowVeto: absent all, empty none."""
        allowed = rules.get("allowVeto")
        return allowed is None or who in allowed or self.electorate[who]["role"] in allowed

    def fault(self, vote: Said, rules: Fields, closes: int, second: int) -> str | None:
        """Why a vote is refused by itself."""
        if vote.fields["choice"] not in (*CHOICES, "Retract"):
            return "UnknownChoice"
        if vote.who not in self.electorate:
            return "NotInElectorate"
        if vote.recorded > closes:
            return "TooLate"
        if parse_time(vote.fields["castAt"]) > vote.recorded + 300:
            return "FromTheFuture"
        if vote.fields["choice"] == "Veto" and not self.may_veto(vote.who, rules):
            return "VetoNotAllowed"
        return self.key_fault(vote, second)

    @staticmethod
    def standing(said: Sequence[Said], reasons: dict[int, str]) -> list[Said]:
        """The highest sequence of each key with one content; `reasons` by identity."""
        found = []
        for name in {item.fields["keyName"] for item in said}:
            mine = [item for item in said if item.fields["keyName"] == name]
            stands = None
            for sequence in sorted({item.fields["sequence"] for item in mine}, reverse=True):
                same = sorted((item for item in mine if item.fields["sequence"] == sequence), key=lambda i: i.recorded)
                if len({item.digest for item in same}) > 1:
                    reasons.update((id(item), "Equivocation") for item in same)
                    continue
                reasons.update((id(item), "Duplicate") for item in same[1:])
                if stands is None:
                    stands = same[0]
                else:
                    reasons[id(same[0])] = "Overtaken"
            found += [] if stands is None else [stands]
        return found

    def own(self, who: str, votes: Sequence[Said], reasons: dict[int, str]) -> tuple[str | None, bool]:
        """A member's choice, and whether any of its keys has a standing vote."""
        needed = self.electorate[who].get("voteThreshold") or 1
        live = []
        for vote in self.standing([vote for vote in votes if vote.who == who], reasons):
            if vote.fields["choice"] == "Retract":
                reasons[id(vote)] = "Retracted"
            else:
                live.append(vote)
        reached = [c for c in CHOICES if sum(vote.fields["choice"] == c for vote in live) >= needed]
        for vote in live:
            if len(reached) == 1:
                reasons[id(vote)] = "Counted" if vote.fields["choice"] == reached[0] else "Outvoted"
            else:
                reasons[id(vote)] = "KeysDisagree" if reached else "ThresholdNotReached"
        return (reached[0] if len(reached) == 1 else None), bool(live)

    def delegate(self, who: str, second: int, end: int, spared: bool) -> str | None:
        """To whom a member delegates."""
        needed = self.electorate[who].get("voteThreshold") or 1
        mine = [item for item in self.delegations if item.who == who and item.recorded <= min(second, end)]
        mine = [item for item in mine if parse_time(item.fields["at"]) <= item.recorded + 300]
        mine = [item for item in mine if self.good(item, second, spared)]
        named: dict[str, int] = {}
        for item in self.standing(mine, {}):
            expires, content = item.fields.get("expiresAt"), item.fields["statement"]
            alive = expires is None or parse_time(expires) > end
            if alive and self.kind in content["types"] and content["to"] in self.electorate:
                named[content["to"]] = named.get(content["to"], 0) + 1
        reached = [to for to, count in named.items() if count >= needed]
        return reached[0] if len(reached) == 1 else None

    def choices(
        self, rules: Fields, second: int, end: int, spared: bool = False
    ) -> tuple[dict[str, str], dict[int, str]]:
        """Each member's counted choice, and the reason of each vote by identity."""
        closes = min(second, end)
        reasons: dict[int, str] = {}
        passed = []
        for vote in self.votes:
            fault = self.fault(vote, rules, closes, second)
            if fault in ("KeyRevoked", "KeyExpired") and self.good(vote, second, spared):
                fault = None
            if fault is None:
                passed.append(vote)
            else:
                reasons[id(vote)] = fault
        own = {who: self.own(who, passed, reasons) for who in self.electorate}
        counted = {who: choice for who, (choice, _) in own.items() if choice is not None}
        for who, (_, standing) in own.items():
            to = None if standing else self.delegate(who, second, end, spared)
            choice = None if to is None else own[to][0]
            if choice is not None and (choice != "Veto" or self.may_veto(who, rules)):
                counted[who] = choice
        return counted, reasons

    def weight(self, who: str) -> int:
        """Of the opening revision."""
        return int(self.electorate[who]["weight"])

    @property
    def total(self) -> int:
        """The electorate's weight."""
        return sum(self.weight(who) for who in self.electorate)

    def sums(self, counted: Mapping[str, str]) -> dict[str, int]:
        """Weight by choice."""
        return {name: sum(self.weight(w) for w, choice in counted.items() if choice == name) for name in CHOICES}

    def quorum(self, rules: Fields, counted: Mapping[str, str], elapsed: int) -> bool:
        """basis·10000 ≥ q·total, and minimumVoters."""
        sums = self.sums(counted)
        basis = sums["Approve"] if rules.get("quorumBasis") == "Approve" else sum(sums.values())
        voters = sum(self.weight(who) > 0 for who in counted)
        if voters < (rules.get("minimumVoters") or 0):
            return False
        adaptive, period = rules.get("adaptiveQuorum"), rules["votingPeriodSeconds"]
        if adaptive is None:
            return bool(basis * 10000 >= rules["quorumBasisPoints"] * self.total)
        start, floor = adaptive["startBasisPoints"], adaptive["floorBasisPoints"]
        needed = (start * period - (start - floor) * min(elapsed, period)) * self.total
        return bool(basis * 10000 * period >= needed)

    @staticmethod
    def passes(rules: Fields, approve: int, decisive: int) -> bool:
        """approve·10000 > t·(approve + reject + veto)."""
        return bool(approve * 10000 > rules["thresholdBasisPoints"] * decisive)

    @staticmethod
    def vetoed(rules: Fields, veto: int, cast: int) -> bool:
        """veto·10000 > v·cast."""
        limit = rules.get("vetoBasisPoints")
        return limit is not None and veto * 10000 > limit * cast

    def reason(self, rules: Fields, counted: Mapping[str, str], elapsed: int) -> str | None:
        """By the order of reasons."""
        sums = self.sums(counted)
        decisive = sums["Approve"] + sums["Reject"] + sums["Veto"]
        if self.total == 0:
            return "ZeroWeight"
        if "objectionBasisPoints" in rules:
            objections = (sums["Reject"] + sums["Veto"]) * 10000
            return "Objection" if objections > rules["objectionBasisPoints"] * self.total else None
        if not self.quorum(rules, counted, elapsed):
            return "QuorumNotReached"
        if self.vetoed(rules, sums["Veto"], sum(sums.values())):
            return "Vetoed"
        if decisive == 0:
            return "NoDecisiveVote"
        return None if self.passes(rules, sums["Approve"], decisive) else "ThresholdNotReached"

    def surely(self, rules: Fields, counted: Mapping[str, str], elapsed: int) -> bool:
        """Early: quorum by what is cast, pass and no veto at their worst."""
        sums, out = self.sums(counted), [who for who in self.electorate if who not in counted]
        rejecting = sum(self.weight(who) for who in out)
        vetoing = sum(self.weight(who) for who in out if self.may_veto(who, rules))
        decisive = sums["Approve"] + sums["Reject"] + sums["Veto"]
        return (
            self.quorum(rules, counted, elapsed)
            and self.passes(rules, sums["Approve"], decisive + rejecting)
            and not self.vetoed(rules, sums["Veto"] + vetoing, sum(sums.values()) + vetoing)
        )

    def hopeless(self, rules: Fields, counted: Mapping[str, str]) -> bool:
        """No completion adopts: all outstanding approving is the best one, the quorum at its lowest."""
        best = {**dict.fromkeys(self.electorate, "Approve"), **counted}
        return self.reason(rules, best, rules["votingPeriodSeconds"]) is not None

    def phase(self, rules: Fields, end: int, not_before: int = 0) -> tuple[str, str, int, int]:  # noqa: C901 - the text
        """(outcome, reason, T, end)."""
        optimistic, good, seen = "objectionBasisPoints" in rules, set(), False
        late, adaptive = rules.get("lateQuorum"), rules.get("adaptiveQuorum")
        for second in range(self.opened, 10**12):
            elapsed = second - self.opened
            both = [self.choices(rules, second, end, spared)[0] for spared in (False, True)]
            if late and not optimistic and not seen and self.quorum(rules, both[0], elapsed):
                seen = True
                if second >= end - late["windowSeconds"]:
                    end += late["extensionSeconds"]
                    both = [self.choices(rules, second, end, spared)[0] for spared in (False, True)]
            faults = [self.reason(rules, counted, elapsed) for counted in both]
            if adaptive and faults == [None, None]:
                good.add(second)
                confirmed = range(second - adaptive["confirmSeconds"], second + 1)
                if second >= not_before and all(item in good for item in confirmed):
                    return "Adopted", "Confirmed", second, end
            if rules.get("earlyDecision") and not optimistic and not_before <= second < end:
                if self.hopeless(rules, both[0]):
                    return "Rejected", "Early", second, end
                if all(self.surely(rules, counted, elapsed) for counted in both):
                    return "Adopted", "Early", second, end
            if second >= end:
                break
        if faults[0] is not None:
            return "Expired" if faults[0] in ("ZeroWeight", "QuorumNotReached") else "Rejected", faults[0], end, end
        if faults[1] is not None:
            return "Rejected", "RevokedDuringVote", end, end
        if adaptive:
            return "Expired", "NotConfirmed", end, end
        return "Adopted", "NoObjection" if optimistic else "Passed", end, end

    def decide(self) -> tuple[str, str, int, int, Fields]:
        """(outcome, reason, T, end, rules that decided); of a fallback the Standard ones."""
        voting = self.revision(self.opened)["voting"]
        rules = voting[self.kind]
        end = self.opened + rules["votingPeriodSeconds"]
        found = self.phase(rules, end)
        if self.kind == "Expedited" and found[0] != "Adopted":
            rules = voting["Standard"]
            end = max(self.opened + rules["votingPeriodSeconds"], found[3])
            found = self.phase(rules, end, not_before=found[2])
        return (*found, rules)
