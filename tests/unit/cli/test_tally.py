"""`quorate tally`: an auditor's command on files alone."""

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.canonical import format_time
from quorate.proposals.documents import DocumentError, tally_documents
from quorate_cli.output import to_yaml
from tests.unit.cli.conftest import Quorate
from tests.unit.proposals.fleet import OPENED, PERIOD, STANDARD, Fleet, constitution, member, node
from tests.unit.proposals.papers import (
    RECOVERY,
    Object,
    act,
    attestation,
    digest_of_domain,
    folder,
    proposal,
    recovery,
    signed_domain,
    votes,
)

AT, OPENING = format_time(OPENED + PERIOD + 2), format_time(OPENED)


def papers() -> list[Object]:
    """Documents with counted and refused votes, a delegation and an endorsement."""
    fleet = Fleet({"Standard": {**STANDARD, "vetoBasisPoints": 3340, "allowVeto": []}})
    items = folder(fleet, "YYYYN")
    items += votes(fleet, ".....Y", signer="m4.main") + votes(fleet, "......V") + votes(fleet, ".......Y", revision=2)
    items += votes(fleet, "........Y", PERIOD + 1) + votes(fleet, ".........Y", key="none")
    items += [attestation("Delegation", {"to": node("m0"), "types": ["Standard"]}, OPENED, by="m9")]
    items[1]["spec"]["stops"] = [act("Stop", "ada", fleet.digest, 20)]
    return copy.deepcopy(items)


def tally(quorate: Quorate, *files: Path, at: str = AT, opened: str = OPENING) -> Any:
    done = quorate("tally", "-f", *files, "--at", at, "--opened", opened, "-o", "json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_every_way_to_write_the_documents_gives_one_result(quorate: Quorate, tmp_path: Path) -> None:
    """YAML, JSON lines, a kubectl List, one file per object, a folder: the same outcome in any order."""
    items = papers()
    result = tally_documents(items, at=OPENED + PERIOD + 2, opened=OPENED)[0]
    assert (result["outcome"], result["sums"]["approve"]) == ("Adopted", 5)
    Random(1).shuffle(items)
    (tmp_path / "all.yaml").write_text(to_yaml(items))
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (tmp_path / "list.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1))
    each = tmp_path / "each"
    each.mkdir()
    for index, item in enumerate(items):
        (each / f"{index}.yaml").write_text(to_yaml([item]))
    for files in (["all.yaml"], ["all.jsonl"], ["list.json"], ["each"]):
        assert tally(quorate, *(tmp_path / name for name in files)) == result
    assert tally(quorate, *sorted(each.iterdir(), reverse=True)) == result


def test_a_file_given_twice_adds_duplicates_only(quorate: Quorate, tmp_path: Path) -> None:
    """Twice the same file: every vote once more as Duplicate or as refused as before, no number changes."""
    (tmp_path / "all.yaml").write_text(to_yaml(papers()))
    once, twice = tally(quorate, tmp_path / "all.yaml"), tally(quorate, *[tmp_path / "all.yaml"] * 2)
    assert {**twice, "votes": []} == {**once, "votes": []}
    added = [vote for vote in twice["votes"] if vote not in once["votes"]]
    assert {vote["reason"] for vote in added} == {"Duplicate"}


def test_every_refused_vote_has_its_reason(quorate: Quorate, tmp_path: Path) -> None:
    """The reasons of the refused votes, by voter."""
    (tmp_path / "all.yaml").write_text(to_yaml(papers()))
    found = {vote["voter"]: vote["reason"] for vote in tally(quorate, tmp_path / "all.yaml")["votes"]}
    expected = ["Counted"] * 5 + ["BadSignature", "VetoNotAllowed", "OtherProposal", "TooLate", "UnknownKey"]
    assert [found[node(f"m{index}")] for index in range(10)] == expected


def test_several_proposals_come_as_a_list(quorate: Quorate, tmp_path: Path) -> None:
    """One proposal gives its outcome document, several a list of them."""
    fleet = Fleet()
    items = [*papers(), proposal({**fleet.spec(), "revision": 2}, OPENED + 500)]
    (tmp_path / "all.yaml").write_text(to_yaml(items))
    assert [result["proposal"]["revision"] for result in tally(quorate, tmp_path / "all.yaml")] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--at", "yesterday"], "--at: 'yesterday' is not a time"),
        (["--at", AT, "--opened", "2024-13-01T00:00:00Z"], "--opened: '2024-13-01T00:00:00Z' is not a time"),
        (["--at", AT], "neither --opened nor status.openedAt nor metadata.creationTimestamp"),
        (["--at", OPENING, "--opened", AT], "after --at"),
        (["--at", AT, "--pin", "fleet=x"], "--pin 'fleet=x': must be MESH/NAME=sha256:"),
    ],
)
def test_bad_flags_end_with_two(quorate: Quorate, tmp_path: Path, arguments: list[str], said: str) -> None:
    """A flag that cannot be used gives one sentence and exit code 2."""
    (tmp_path / "all.yaml").write_text(to_yaml(papers()))
    done = quorate("tally", "-f", tmp_path / "all.yaml", *arguments, "-o", "json")
    assert (done.code, done.out) == (2, "")
    assert said in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "kind: Vote\nkind: Vote\n", "the key 'kind' occurs twice"),
        ("a.yaml", "kind: Vote\nmetadata: {}\nspec: {sequence: 1.5}\n", "1.5 is a floating-point number"),
        ("a.yaml", "kind: Vote\nspec: {}\n", "metadata None must be an object"),
        ("a.yaml", "kind: Vote\nmetadata: {name: v}\nspec: {}\n", "Vote v: spec.proposal None must be an object"),
        ("a.yaml", "- 1\n", "a document must be an object"),
        ("a.yaml", "a: [\n", "is not YAML"),
        ("a.yaml", "kind: Vote\nmetadata: {name: v}\nspec: {1: 2}\n", "object name 1 is not a string"),
        ("a.yaml", "kind: TrustDomain\nmetadata: {name: 1}\nspec: {revision: 1}\n", "metadata.name 1 must be a string"),
        ("a.jsonl", '{"kind":"Vote"}\n{"kind":\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '{"kind":"Vote","kind":"Vote"}\n', "occurs twice"),
        ("a.json", '{"kind": "Vote", "spec": NaN}', "NaN is a floating-point number"),
        ("a.yaml", "# " + "x" * 2_000_000 + "\n", "a manifest must be smaller than 2000000 bytes"),
        ("a.yaml", "kind: ConfigMap\n", "no GovernanceProposal among the documents"),
    ],
)
def test_bad_files_end_with_two(quorate: Quorate, tmp_path: Path, name: str, text: str, said: str) -> None:
    """A file that cannot be used gives one sentence that names place and rule, and exit code 2."""
    (tmp_path / name).write_text(text)
    done = quorate("tally", "-f", tmp_path / name, "--at", AT, "-o", "json")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_bad_values_in_signed_documents(quorate: Quorate, tmp_path: Path) -> None:
    """An unknown role and basis points over 10000 in the constitution are named, with exit code 2."""
    for change, said in (
        ({"members": [{**member("m0"), "role": "King"}]}, "spec.members[0].role"),
        ({"voting": {"Standard": {**STANDARD, "quorumBasisPoints": 10_001}}}, "10000 (got 10001)"),
        ({"members": [member("m0"), {**member("m1"), "keys": member("m0")["keys"]}]}, "may stand once"),
    ):
        spec = {**constitution([member("m0")], {"Standard": STANDARD}), **change}
        (tmp_path / "all.yaml").write_text(to_yaml([signed_domain(spec), *papers()[1:]]))
        done = quorate("tally", "-f", tmp_path / "all.yaml", "--at", AT, "--opened", OPENING)
        assert done.code == 2
        assert said in done.err and "TrustDomain fleet" in done.err


def test_tables_show_open_refused_and_decided(quorate: Quorate, tmp_path: Path) -> None:
    """Without -o json every document is shown to people too, an undecided and a refused one as well."""
    items = papers()
    (tmp_path / "all.yaml").write_text(to_yaml(items))
    for at in (AT, OPENING):
        done = quorate("tally", "-f", tmp_path / "all.yaml", "--at", at, "--opened", OPENING, "-o", "wide")
        assert done.code == 0
    items[1]["spec"]["signature"] = "A" * 86
    (tmp_path / "all.yaml").write_text(to_yaml(items))
    done = quorate("tally", "-f", tmp_path / "all.yaml", "--at", AT, "--opened", OPENING)
    assert done.code == 0 and "BadSignature" in done.out and "spec.signature is not that of key" in done.out


Path_ = tuple[str | int, ...]


def places(value: Any, path: Path_ = ()) -> list[Path_]:
    """Every place in a document."""
    found = [path] if path else []
    if isinstance(value, dict):
        return found + [place for name, item in value.items() for place in places(item, (*path, name))]
    if isinstance(value, list):
        return found + [place for index, item in enumerate(value) for place in places(item, (*path, index))]
    return found


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    st.text(max_size=8),
    st.just({}),
    st.just([]),
    st.just([{}]),
    st.just({"": None}),
    st.sampled_from(
        ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "A" * 86, "sha256:" + "0" * 64, node("m3"), "Veto"]
    ),
)


def rich_papers() -> list[Object]:
    """Besides those, a chain with a recovery and its cancellation, an amendment, times and a status."""
    items = papers()
    first = {key: value for key, value in items[0]["spec"].items() if key != "signatures"}
    first |= {"recovery": RECOVERY}
    second = {**first, "revision": 2, "previousDigest": digest_of_domain(first)}
    second["recovery"] = {**RECOVERY, "delaySeconds": 200}
    announced, digest = recovery(second, OPENED - 500, ("safe", "bank"))
    cancelled = attestation("CancelRecovery", {"acts": [act("CancelRecovery", "ada", digest, -450)]}, OPENED - 450)
    fleet = Fleet({"Standard": first["voting"]["Standard"]})
    amendment = proposal({**fleet.spec(), "revision": 2, "rationale": "shorter"}, OPENED + 600)
    items[1]["status"] = {"openedAt": OPENING, "executedAt": AT}
    items[2]["metadata"]["creationTimestamp"] = format_time(OPENED + 30)
    domains = [signed_domain(first), signed_domain(second, OPENED - 300, by=("safe", "bank"))]
    return copy.deepcopy([*domains, *items[1:], announced, cancelled, amendment])


def counted(results: list[Object]) -> set[tuple[str, str]]:
    return {(vote["voter"], vote["choice"]) for result in results for vote in result["votes"] if vote["counted"]}


PAPERS = rich_papers()
PLACES = [(index, place) for index, item in enumerate(PAPERS) for place in places(item)]
RESULTS = tally_documents(PAPERS, at=OPENED + PERIOD + 2, opened=OPENED)
COUNTED = counted(RESULTS)
LABELS = {"metadata", "status", "apiVersion", "kind"}


def mutate(changes: list[tuple[tuple[int, Path_], Any, bool]]) -> list[Object]:
    items = copy.deepcopy(PAPERS)
    for (index, (*parents, last)), value, drop in changes:
        place: Any = items[index]
        try:
            for step in parents:
                place = place[step]
            if drop:
                del place[last]
            else:
                place[last] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return items


def test_the_documents_to_mutate_reach_every_part() -> None:
    """Nothing in them is refused but votes, so that a change has something to break."""
    assert [result["outcome"] for result in RESULTS] == ["Superseded", None]
    assert RESULTS[0]["refusedRevisions"] == [] and len(COUNTED) == 5


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK, st.booleans()), min_size=1, max_size=3))
def test_mutated_documents_never_crash_nor_make_a_vote_count(
    changes: list[tuple[tuple[int, Path_], Any, bool]],
) -> None:
    """A changed document is refused with a sentence or judged; no vote that was refused counts after it.

    A time that nothing signs may make a late vote early: the opening, the clock and creationTimestamps are left out.
    """
    unsigned = any(place[0] in LABELS for (_, place), _, _ in changes)
    sentence, results = "", []
    try:
        results = tally_documents(mutate(changes), at=OPENED + PERIOD + 2, opened=OPENED)
    except DocumentError as error:
        sentence = str(error)
    assert bool(sentence) is not bool(results)
    assert "\n" not in sentence
    assert unsigned or counted(results) <= COUNTED


def test_a_double_majority_is_explained_for_each_domain(quorate: Quorate, tmp_path: Path) -> None:
    """`--explain` of an open one gives the numbers of both domains, each once."""
    fleet = Fleet(domains=["fleet", "other"])
    domains = [signed_domain(constitution(fleet.members, fleet.voting), name=name) for name in fleet.domains or ()]
    items = [*domains, proposal(fleet.spec()), *votes(fleet, "YYN"), *votes(fleet, "Y", domain="other")]
    (tmp_path / "all.yaml").write_text(to_yaml(items))
    done = quorate("tally", "-f", tmp_path / "all.yaml", "--at", OPENING, "--opened", OPENING, "--explain")
    assert (done.code, done.err) == (0, "")
    at = format_time(OPENED + 20)
    done = quorate("tally", "-f", tmp_path / "all.yaml", "--at", at, "--opened", OPENING, "--explain")
    assert "each of fleet, other has to adopt it" in done.out
    assert done.out.count("approve 2, reject 1") == done.out.count("approve 1, reject 0") == 1
