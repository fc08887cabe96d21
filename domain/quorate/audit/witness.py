"""What a witness does before it cosigns, as pure decisions; and proofs that a log showed two histories (audit.md, 7).

A witness cosigns the largest tree that it saw, after it checked that it continues the one before and after it stored
it. The rules follow C2SP tlog-witness; the transport is the Kubernetes API (docs/witnesses.md), so a smaller checkpoint
than the last is normal (a status may be old) and no alarm: the witness goes on showing the larger one that the log
signed, and whoever compares the two knows that the log went back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from quorate.audit.checkpoint import Checkpoint, CheckpointError, parse_checkpoint
from quorate.audit.merkle import ProofError, verify_consistency
from quorate.audit.note import Cosignature, NoteError, UnsignedError, parse_note, verify_note
from quorate.identity.vkey import VerifierKey

EARLIER_VIEWS = 64
"""How many earlier views a witness keeps, to recognise another root at a size that it saw."""
MAX_PROOF_HASHES = 64


class Refusal(StrEnum):
    """Why a witness does not cosign; every word is an interface."""

    MALFORMED = "Malformed"
    """It is no checkpoint, or one of no entries."""
    WRONG_ORIGIN = "WrongOrigin"
    """It is of another log."""
    UNKNOWN_KEY = "UnknownKey"
    """No pinned key of the log signed it."""
    BAD_SIGNATURE = "BadSignature"
    """The signature of a pinned key is wrong."""
    HAVE_NEWER = "HaveNewer"
    """It is smaller than what the witness saw."""
    PROOF_MISSING = "ProofMissing"
    """The log grew, but shows no consistency proof from what the witness saw."""
    PROOF_WRONG = "ProofWrong"
    """The consistency proof does not verify, and proves nothing against the log either."""
    SPLIT_VIEW = "SplitView"
    """The log signed two histories; the conflict is the proof."""
    IN_CONFLICT = "InConflict"
    """A split view was seen before: nothing is cosigned until a person resets the witness."""


@dataclass(frozen=True)
class Consistency:
    """What a log offers for an older size: the root that its tree has there, and the proof up to its newest."""

    size: int
    root: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True)
class Seen:
    """A checkpoint that a witness accepted; `note` carries the log's signatures and no others."""

    size: int
    root: bytes
    note: str


@dataclass(frozen=True)
class Conflict:
    """Two notes that the log signed and that no single append-only history has.

    Either they have one size and two roots, or `consistency` proves that the newer tree has another root at the older
    one's size. Anybody with the log's keys can check it: `check_conflict`.
    """

    older: str
    newer: str
    consistency: Consistency | None = None


@dataclass(frozen=True)
class WitnessState:
    """What a witness remembers of one log. It is stored before anything is cosigned."""

    origin: str
    last: Seen | None = None
    earlier: tuple[Seen, ...] = ()
    """Older views, newest last, at most `EARLIER_VIEWS`."""
    conflict: Conflict | None = None

    def advanced(self, seen: Seen) -> "WitnessState":
        """With `seen` as the newest view."""
        earlier = self.earlier if self.last is None else (*self.earlier, self.last)[-EARLIER_VIEWS:]
        return replace(self, last=seen, earlier=earlier)


@dataclass(frozen=True)
class Cosign:
    """Store `state`, then cosign `state.last`."""

    state: WitnessState


@dataclass(frozen=True)
class Refuse:
    """Cosign nothing. Store `state` where it differs from the one before: it then remembers a conflict."""

    reason: Refusal
    message: str
    state: WitnessState

    @property
    def alarm(self) -> bool:
        """Whether the log was shown to have two histories."""
        return self.reason in (Refusal.SPLIT_VIEW, Refusal.IN_CONFLICT)


def judge(
    state: WitnessState, note: str, keys: Sequence[VerifierKey], consistency: Iterable[Consistency]
) -> Cosign | Refuse:
    """Whether to cosign a note of the log `state.origin`.

    Args:
        state: what the witness remembers.
        note: what the log shows.
        keys: the log's keys, by the witness's own pin.
        consistency: what the log offers with the note.
    """
    if state.conflict is not None:
        message = "the log showed two histories before; a person looks at them and resets the witness"
        return Refuse(Refusal.IN_CONFLICT, message, state)
    seen = _read(state, note, keys)
    if isinstance(seen, Refuse):
        return seen
    last = state.last
    known = (view for view in (last, *state.earlier) if view is not None and view.size == seen.size)
    for view in known:
        if view.root != seen.root:
            return _split(state, Conflict(view.note, seen.note), f"at size {seen.size} it signed two roots")
    if last is None:
        return Cosign(state.advanced(seen))
    if seen.size == last.size:
        return Cosign(state)
    if seen.size < last.size:
        message = f"the log shows size {seen.size}, it signed size {last.size} before"
        return Refuse(Refusal.HAVE_NEWER, message, state)
    return _grown(state, last, seen, consistency)


def _read(state: WitnessState, note: str, keys: Sequence[VerifierKey]) -> Seen | Refuse:
    try:
        checkpoint = parse_checkpoint(parse_note(note).text)
    except (NoteError, CheckpointError) as error:
        return Refuse(Refusal.MALFORMED, str(error), state)
    if checkpoint.origin != state.origin:
        message = f"the checkpoint is of log {checkpoint.origin!r}, not {state.origin!r}"
        return Refuse(Refusal.WRONG_ORIGIN, message, state)
    if checkpoint.size == 0:
        return Refuse(Refusal.MALFORMED, "a checkpoint of no entries has nothing to cosign", state)
    try:
        signed = verify_note(note, keys).signed_by(keys)
    except UnsignedError as error:
        return Refuse(Refusal.UNKNOWN_KEY, str(error), state)
    except NoteError as error:
        return Refuse(Refusal.BAD_SIGNATURE, str(error), state)
    return Seen(checkpoint.size, checkpoint.root, str(signed))


def _grown(state: WitnessState, last: Seen, seen: Seen, consistency: Iterable[Consistency]) -> Cosign | Refuse:
    offered = [item for item in consistency if item.size == last.size]
    if not offered:
        message = f"the log shows size {seen.size}, but no consistency proof from size {last.size}"
        return Refuse(Refusal.PROOF_MISSING, message, state)
    message = ""
    for item in offered:
        try:
            verify_consistency(old_size=last.size, old_root=last.root, size=seen.size, root=seen.root, proof=item.proof)
        except ProofError as error:
            message = str(error)
        else:
            return Cosign(state.advanced(seen))
    for item in offered:
        conflict = Conflict(last.note, seen.note, item)
        if _proves(last, seen, item):
            return _split(state, conflict, f"its tree of size {seen.size} does not continue the one of {last.size}")
    return Refuse(Refusal.PROOF_WRONG, f"consistency of {last.size} and {seen.size}: {message}", state)


def _proves(older: Seen | Checkpoint, newer: Seen | Checkpoint, item: Consistency) -> bool:
    """Whether the newer tree provably has another root at the older one's size."""
    if item.size != older.size or item.root == older.root:
        return False
    try:
        verify_consistency(old_size=item.size, old_root=item.root, size=newer.size, root=newer.root, proof=item.proof)
    except ProofError:
        return False
    return True


def _split(state: WitnessState, conflict: Conflict, what: str) -> Refuse:
    message = f"log {state.origin} shows two histories: {what}"
    return Refuse(Refusal.SPLIT_VIEW, message, replace(state, conflict=conflict))


class ConflictError(ValueError):
    """Two notes that prove nothing against the log; the message says why."""


def check_conflict(conflict: Conflict, keys: Sequence[VerifierKey], *, origin: str) -> tuple[Checkpoint, Checkpoint]:
    """The two checkpoints of a log that no append-only history has, or ConflictError."""
    older, newer = (_signed(note, keys, origin) for note in (conflict.older, conflict.newer))
    if older.size == newer.size and older.root != newer.root:
        return older, newer
    if conflict.consistency is None or older.size >= newer.size:
        raise ConflictError(f"sizes {older.size} and {newer.size}: one history may have both checkpoints")
    if not _proves(older, newer, conflict.consistency):
        raise ConflictError(f"the proof does not show that size {newer.size} has another past at {older.size}")
    return older, newer


def _signed(note: str, keys: Sequence[VerifierKey], origin: str) -> Checkpoint:
    try:
        checkpoint = parse_checkpoint(verify_note(note, keys).text)
    except (NoteError, CheckpointError) as error:
        raise ConflictError(str(error)) from error
    if checkpoint.origin != origin:
        raise ConflictError(f"the checkpoint is of log {checkpoint.origin!r}, not {origin!r}")
    return checkpoint


def enough(cosignatures: Iterable[Cosignature], needed: int, members: Mapping[VerifierKey, str] | None = None) -> bool:
    """Whether `needed` distinct witnesses cosigned, as `witnesses_of` counts them."""
    return witnesses_of(cosignatures, members) >= needed


def witnesses_of(cosignatures: Iterable[Cosignature], members: Mapping[VerifierKey, str] | None = None) -> int:
    """How many distinct witnesses cosigned: distinct members by `members`, else distinct public keys.

    With `members` a key that it does not name counts nothing.
    """
    if members is None:
        return len({item.key.public_key for item in cosignatures})
    return len({members[item.key] for item in cosignatures if item.key in members})
