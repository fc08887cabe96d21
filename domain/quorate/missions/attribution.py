"""Whose memory a device's processes hold (docs/missions.md, "Whose memory")."""

from quorate.missions.samples import Held, Missing, Owned, Processes

Key = tuple[int, int]
"""A process: pid and start time."""
Owner = tuple[str, str] | None
"""Uid and container; None for a process to leave out."""
MOST_OWNERS = 8_192


class Attribution:
    """Knows which process belongs to whom, and sums process lists by pod and container."""

    __slots__ = ("_listed", "_owners", "unattributed")

    def __init__(self) -> None:
        self._owners: dict[Key, Owner] = {}
        self._listed: dict[str, frozenset[Key]] = {}
        self.unattributed: dict[str, int] = {}
        """Device → bytes of processes that nobody is known to own."""

    def own(self, event: Owned) -> None:
        """Learn a process's owner."""
        self._owners[event.pid, event.start] = None if event.uid is None else (event.uid, event.container)
        if len(self._owners) > MOST_OWNERS:
            self._forget()

    def _forget(self) -> None:
        """Drop the oldest that no list names."""
        listed = frozenset().union(*self._listed.values())
        for key in [key for key in self._owners if key not in listed][: MOST_OWNERS // 8]:
            del self._owners[key]

    def share(self, event: Processes, holders: frozenset[str]) -> dict[str, Held]:
        """Each pod's share: of the pods with a process on the list, and of `holders` (uids) without one."""
        if isinstance(event.rows, Missing):
            return {uid: Held(event.at, event.gpu, {}, complete=False) for uid in holders}
        sums: dict[str, dict[str, int]] = {uid: {} for uid in holders}
        partial: set[str] = set()
        nobody = 0
        for row in event.rows:
            key = (row.pid, row.start)
            number = 0 if isinstance(row.used, Missing) else row.used
            if key not in self._owners:
                nobody += number
                continue
            owner = self._owners[key]
            if owner is None:
                continue
            uid, container = owner
            shares = sums.setdefault(uid, {})
            shares[container] = shares.get(container, 0) + number
            if isinstance(row.used, Missing):
                partial.add(uid)
        self._note(event.gpu, frozenset((row.pid, row.start) for row in event.rows), nobody)
        return {uid: Held(event.at, event.gpu, found, uid not in partial) for uid, found in sums.items()}

    def _note(self, gpu: str, keys: frozenset[Key], nobody: int) -> None:
        before = self._listed.get(gpu, frozenset())
        self._listed[gpu] = keys
        self.unattributed[gpu] = nobody
        for key in before - keys:
            if not any(key in listed for listed in self._listed.values()):
                self._owners.pop(key, None)
