"""Conditions are merged as metav1.Condition demands."""

from quorate.api.conditions import (
    ConditionType,
    Reason,
    find_condition,
    is_true,
    merge_conditions,
    not_implemented,
    observe,
)


def ready(status: bool | None, message: str = "all is well") -> list[dict[str, object]]:
    return merge_conditions(None, [observe(ConditionType.READY, status, Reason.READY, message)], generation=1, now=100)


def test_a_new_condition_has_the_given_time() -> None:
    """The first observation transitions now."""
    assert ready(True) == [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "1970-01-01T00:01:40Z",
            "reason": "Ready",
            "message": "all is well",
        }
    ]


def test_the_time_stays_while_the_status_stays() -> None:
    """Another reason or message is no transition."""
    again = observe(ConditionType.READY, True, Reason.ACCEPTED, "still")
    (merged,) = merge_conditions(ready(True), [again], generation=2, now=200)
    assert (merged["lastTransitionTime"], merged["reason"], merged["observedGeneration"]) == (
        "1970-01-01T00:01:40Z",
        "Accepted",
        2,
    )


def test_the_time_moves_when_the_status_flips() -> None:
    """True to Unknown is a transition."""
    flipped = observe(ConditionType.READY, None, Reason.WAITING, "gone")
    (merged,) = merge_conditions(ready(True), [flipped], generation=1, now=200)
    assert (merged["status"], merged["lastTransitionTime"]) == ("Unknown", "1970-01-01T00:03:20Z")


def test_other_conditions_stay_and_named_ones_go() -> None:
    """What was not observed stays where it was, unless it is to be removed."""
    stalled = observe(ConditionType.STALLED, True, Reason.INVALID, "bad")
    both = merge_conditions(ready(True), [stalled], generation=1, now=150)
    assert [entry["type"] for entry in both] == ["Ready", "Stalled"]
    again = merge_conditions(both, [], generation=1, now=200, remove=["Stalled"])
    assert again == ready(True)


def test_merging_twice_changes_nothing() -> None:
    """An unchanged observation gives an unchanged list, so that no status is written."""
    once = ready(True)
    observation = observe(ConditionType.READY, True, Reason.READY, "all is well")
    assert merge_conditions(once, [observation], generation=1, now=999) == once


def test_long_messages_are_cut() -> None:
    """A message never exceeds the schema's bound of 8192 characters."""
    assert len(observe(ConditionType.READY, True, Reason.READY, "x" * 9000).message) == 8192


def test_not_implemented_is_stalled() -> None:
    """A kind without a reconciler says so: Ready=False, Stalled=True, NotImplemented (api.md)."""
    merged = merge_conditions(None, not_implemented("ContractSync"), generation=1, now=1)
    assert [(entry["type"], entry["status"], entry["reason"]) for entry in merged] == [
        ("Ready", "False", "NotImplemented"),
        ("Stalled", "True", "NotImplemented"),
    ]


def test_lookup() -> None:
    """A condition is found by its type; a status without it is not true."""
    status = {"conditions": ready(True)}
    assert is_true(status, "Ready")
    assert not is_true(status, "Stalled")
    assert find_condition(None, "Ready") is None


def test_reasons_are_words() -> None:
    """Each reason is one CamelCase word that metav1.Condition accepts, and all differ."""
    assert all(reason.value.isalpha() and reason.value[0].isupper() for reason in Reason)
    assert len({reason.value for reason in Reason}) == len(Reason)
