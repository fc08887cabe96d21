"""Pruned entries: their archives, one after another, up to where the database goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path

from quorate.audit.archive import MANIFEST, ArchiveError, Point
from quorate.audit.verify import ChainReport
from quorate_operator.store.archive import Archive
from quorate_operator.verification.files import Terms, verify_here


def verify_before(
    report: ChainReport,
    places: Sequence[Path],
    terms: Terms,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Add to the report of a pruned chain what the archives in `places` hold of it.

    They must follow one another from entry 0 and end in the state of the chain at which the database goes on. The first
    fault of an archive becomes the chain's; a gap is said in a note.

    Raises:
        Transient: `FilesUnavailable`.
    """
    if report.first == 0 or report.fault is not None:
        return
    reached: Point | None = None
    for place, archive in _archives(report.chain_id, places):
        manifest = archive.manifest
        if manifest.before.size != (0 if reached is None else reached.size):
            continue
        found = verify_here(place, terms, progress)
        if found.fault is not None:
            report.fault = found.fault
            return
        if reached is not None and manifest.before != reached:
            report.notes.append(f"{place} does not begin in the state in which the archive before it ends")
            return
        reached = manifest.after
        report.checked += found.checked
        report.notes.append(f"entries {manifest.before.size}…{reached.size - 1} verified in {place}")
    if reached is None or reached.size < report.first:
        missing = 0 if reached is None else reached.size
        report.notes.append(f"entries {missing}…{report.first - 1} are in none of the archives")
    elif (reached.size, reached.chain_hash.hex()) == (report.first, report.previous):
        report.first = 0
    else:
        report.notes.append("the archives do not end in the state in which the database goes on")


def _archives(chain: str, places: Sequence[Path]) -> list[tuple[Path, Archive]]:
    """The chain's archives at or below the places, by their first entry."""
    found = []
    for place in places:
        for file in place.rglob(MANIFEST):
            try:
                archive = Archive(file.parent)
            except ArchiveError:
                continue
            if archive.manifest.chain == chain:
                found.append((file.parent, archive))
    return sorted(found, key=lambda item: item[1].manifest.before.size)
