"""The log as a table that is printed line by line: columns keep their width, and grow when something longer comes."""

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence

from quorate_cli.audit.shown import Shown, printable, summary
from quorate_cli.output import colourful, paint

Cell = Callable[[Shown], str]
LONGEST = 240
"""Characters of the last column where there is no terminal whose width could say."""

COLUMNS: list[tuple[str, Cell]] = [
    ("sealed", lambda shown: shown.sealed),
    ("chain", lambda shown: shown.chain),
    ("seq", lambda shown: str(shown.sequence)),
    ("event", lambda shown: shown.event),
    ("subject", lambda shown: shown.name),
    ("actor", lambda shown: str(shown.content.get("actor_id") or "-")),
]
ENTRY_ID: tuple[str, Cell] = ("entry id", lambda shown: str(shown.content.get("entry_id")))
_WHAT: tuple[str, Cell] = ("what", summary)


class Lines:
    """Prints entries; `first` (the rows known at the start) sets the widths, the heading comes with the first line."""

    def __init__(self, first: Sequence[Shown], *, wide: bool, one_chain: bool) -> None:
        columns = [column for column in COLUMNS if not (one_chain and column[0] == "chain")]
        self._columns = [*columns, *([ENTRY_ID] if wide else []), _WHAT]
        cells = [[name for name, _ in self._columns], *([printable(cell(row)) for _, cell in columns] for row in first)]
        self._widths = [max(len(line[i]) for line in cells if i < len(line)) for i in range(len(self._columns))]
        self._headed = False

    def show(self, rows: Iterable[Shown]) -> None:
        """Print rows."""
        for row in rows:
            if not self._headed:
                print(paint(self._line([name.upper() for name, _ in self._columns]), "bold"))
                self._headed = True
            cells = [printable(cell(row)) or "-" for _, cell in self._columns]
            self._widths = [max(pair) for pair in zip(self._widths, map(len, cells[:-1]), strict=False)] + [0]
            print(self._painted(cells, row.style), flush=True)

    def _line(self, cells: list[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells[:-1], self._widths, strict=False)]
        room = LONGEST
        if sys.stdout.isatty():
            room = shutil.get_terminal_size().columns - sum(len(cell) + 2 for cell in padded)
        last = cells[-1] if len(cells[-1]) <= max(room, 12) else cells[-1][: max(room, 12) - 1] + "…"
        return "  ".join([*padded, last]).rstrip()

    def _painted(self, cells: list[str], style: str | None) -> str:
        line = self._line(cells)
        event = next(i for i, (name, _) in enumerate(self._columns) if name == "event")
        if style is None or not colourful(sys.stdout):
            return line
        start = sum(width + 2 for width in self._widths[:event])
        end = start + len(cells[event])
        return line[:start] + paint(line[start:end], style) + line[end:]
