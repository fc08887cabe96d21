"""One chain of a database under verification: what a scan found fine is joined, the rest is judged entry by entry."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from quorate.audit.note import NoteError, parse_note
from quorate.audit.record import Record
from quorate.audit.rules import StoredEntry, check_entry
from quorate.audit.verify import ChainReport, ChainVerifier, Start, StoredTile
from quorate.identity.vkey import VerifierKey, parse_verifier_key
from quorate_operator.verification.database import Reader
from quorate_operator.verification.kept import kept_fault
from quorate_operator.verification.pruned import check_pruned
from quorate_operator.verification.request import ChainRequest
from quorate_operator.verification.rows import Expected, IndexTally
from quorate_operator.verification.starting import behind_checkpoint, behind_prune
from quorate_operator.verification.work import Done, SegmentTask


class ChainWork:
    """Brings one chain from its start to its end."""

    def __init__(self, reader: Reader, request: ChainRequest, expected: IndexTally) -> None:
        self.chain = request.chain_id
        self._reader, self._request = reader, request
        self._expected = Expected(expected, self.chain, expected.probes)
        self._keys = [parse_verifier_key(key) for key in request.keys]
        self._notes: list[str] = []
        self._begin = self._find_start()
        self.start = 0 if self._begin is None else self._begin.point.size
        self._stored, unknown = signed(reader.checkpoints(self.chain, self.start), self._keys)
        if unknown:
            self._notes.append(f"{unknown} stored checkpoints by unknown keys were not used")
        self._verifier = self._new_verifier()
        self._head = reader.head(self.chain)
        self.end = max(self.start, reader.end(self.chain), 0 if self._head is None else self._head.size)

    @property
    def covered(self) -> bool:
        """Whether what lies before the start is covered by a checkpoint that the caller believes."""
        return self._begin is not None and self._begin.covered

    @property
    def faulty(self) -> bool:
        """Whether a fault was found."""
        return self._verifier.report.fault is not None

    def _find_start(self) -> Start | None:
        prune, since = self._reader.pruned(self.chain), self._request.since
        start = None if prune is None else behind_prune(self._reader, prune)
        if since is not None:
            later, why = behind_checkpoint(self._reader, self.chain, since, self._keys)
            if later is not None and (start is None or later.point.size >= start.point.size):
                start = later
            self._notes += [why] if why else []
        return start

    def _new_verifier(self) -> ChainVerifier:
        request = self._request
        since = [request.since] if isinstance(request.since, str) else []
        return ChainVerifier(
            self.chain,
            keys=self._keys,
            stored=self._stored,
            anchors=[*request.anchors, *since],
            witnesses=[parse_verifier_key(key) for key in request.witnesses],
            require_witnesses=request.require_witnesses,
            start=self._begin,
            tiles=self._tile,
        )

    def _tile(self, level: int, number: int) -> StoredTile | None:
        return self._reader.tile(self.chain, level, number)

    def segments(self, width: int) -> list[SegmentTask]:
        """The tasks that scan the chain, at most `width` entries each."""
        cuts = [self.start, *range((self.start // width + 1) * width, self.end, width), self.end]
        sizes = self._verifier.wanted
        return [
            SegmentTask(self.chain, start, end, tuple(size for size in sizes if start < size < end))
            for start, end in pairwise(cuts)
            if start < end
        ]

    def take(self, done: Done) -> None:
        """Go on by what a scan says of the next segment."""
        task = done.task
        assert isinstance(task, SegmentTask)
        if self._verifier.report.fault is not None:
            return
        if done.segment is not None and self._verifier.join(done.segment):
            return
        for entry in self._reader.entries(self.chain, task.start, task.end):
            if not self._verifier.feed(entry):
                return
            if done.segment is None:
                self._expect(entry)

    def _expect(self, entry: StoredEntry) -> None:
        """What the indexes must hold of an entry that no scan accepted, though it is fine."""
        record = Record.decode(entry.record)
        content = check_entry(entry, record)
        key = content["payload"]["subject"]["key"].encode()
        place = record.sequence.to_bytes(8, "big")
        self._expected.entries([content["entry_id"].encode()], [place], [key])
        self._expected.names(place, key, [name.encode() for name in content["payload"].get("about", ())])

    def finish(self, expected: IndexTally, stored: IndexTally) -> ChainReport:
        """The report, once everything was read."""
        report = self._verifier.report
        if self._begin is not None and not self.covered:
            check_pruned(self._reader, self.chain, self.start, self._verifier.fail)
        self._verifier.finish(self._head)
        if report.fault is None:
            self._count_tiles()
        if report.fault is None:
            self._compare_indexes(expected, stored)
        if report.fault is None and self._begin is not None and not self.covered:
            fault = kept_fault(self._reader, self.chain, self._begin.frontier)
            if fault is not None:
                self._verifier.fail("merkle", fault)
        report.unsealed, report.refused = self._reader.intake(self.chain)
        if self._begin is not None:
            report.notes.insert(0, self._why(report))
            # The entry before the start was read, and found in the tree that the checkpoint signs.
            report.checked += self.covered and report.checked == 0 and report.fault is None
        report.notes += self._notes
        return report

    def _why(self, report: ChainReport) -> str:
        """How what lies before the start is known."""
        assert self._begin is not None
        if self.covered:
            return self._begin.why
        if report.checkpoints:
            return f"{self._begin.why}, proven by checkpoint"
        return f"{self._begin.why}; no signed checkpoint proves them: give --log-key, or their --archive"

    def _compare_indexes(self, expected: IndexTally, stored: IndexTally) -> None:
        name = self.chain.encode()
        if all(mine.get(name, 0) == theirs.get(name, 0)
               for mine, theirs in ((expected.ids, stored.ids), (expected.names, stored.names))):  # fmt: skip
            return
        exact = self._new_verifier()
        for entry in self._reader.indexed(self.chain, self.start):
            if not exact.feed(entry):
                break
        self._verifier.report.fault = exact.report.fault
        stray = self._reader.stray(self.chain, self.start)
        if stray is not None:
            index, key, sequence = stray
            self._verifier.fail("index", f"the index of {index} has {key} at place {sequence}, where no entry is")
        self._verifier.fail("index", "the indexes do not hold exactly what the entries say")

    def _count_tiles(self) -> None:
        size, level = self._verifier.size, 0
        counts = self._reader.tile_counts(self.chain)
        while counts or size >> 8 * (level + 1):
            wanted, held = size >> 8 * (level + 1), counts.pop(level, 0)
            if wanted != held:
                message = f"{held} full tiles of level {level} are stored, {size} entries have {wanted}"
                self._verifier.fail("merkle", message)
            level += 1


def signed(notes: Iterable[str], keys: Sequence[VerifierKey]) -> tuple[list[str], int]:
    """Notes that a known key claims to have signed, and how many no known key did; the verifier checks the claims."""
    known: list[str] = []
    unknown = 0
    for note in notes:
        try:
            claimed = bool(parse_note(note).signed_by(keys).signatures)
        except NoteError:
            claimed = True  # the verifier says how it is wrong
        known += [note] if claimed else []
        unknown += not claimed
    return known, unknown
