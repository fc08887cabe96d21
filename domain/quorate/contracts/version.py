"""Versions of a contract, `vYYYY.MM.DD[-n]`: parsed and compared as numbers, never as text (api.md)."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

_FORM = re.compile(r"v(\d{4})\.(\d{2})\.(\d{2})(?:-([1-9]\d{0,5}))?", re.ASCII)
MAX_NUMBER = 999_999


class VersionError(ValueError):
    """A text that is no version, or a version that has no successor."""


@dataclass(frozen=True, order=True)
class Version:
    """A calendar day and the number of the change within it, 0 where `-n` is absent; ordered by both."""

    day: date
    number: int = 0

    @classmethod
    def parse(cls, text: object) -> Self:
        """The version that `text` writes; VersionError names what is wrong, an impossible date too."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise VersionError(f"version {text!r} must have the form vYYYY.MM.DD or vYYYY.MM.DD-n, n from 1")
        year, month, day, number = match.groups(default="0")
        try:
            return cls(date(int(year), int(month), int(day)), int(number))
        except ValueError as error:
            raise VersionError(f"version {text!r} names no calendar day: {error}") from error

    def __str__(self) -> str:
        stem = f"v{self.day.year:04}.{self.day.month:02}.{self.day.day:02}"
        return f"{stem}-{self.number}" if self.number else stem

    def without_number(self) -> str:
        """`vYYYY.MM.DD`, as exported documents write it (api.md, "Exported JSON documents")."""
        return str(Version(self.day))

    def following(self, second: int) -> "Version":
        """The version of a change executed at `second` (Unix): that UTC day's first one that is greater than this.

        A current version of a later day (a genesis dated ahead) keeps its day and counts on, so that order never runs
        backwards; VersionError beyond 999999 changes of one day.
        """
        today = Version(datetime.fromtimestamp(second, UTC).date())
        if today > self:
            return today
        if self.number >= MAX_NUMBER:
            raise VersionError(f"version {self} has no successor on its day: at most {MAX_NUMBER} changes")
        return Version(self.day, self.number + 1)


def next_version(current: str, second: int) -> str:
    """The text of the version that follows `current` for a change executed at Unix `second`."""
    return str(Version.parse(current).following(second))
