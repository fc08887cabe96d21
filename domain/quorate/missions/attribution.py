"""Whose memory a device's processes hold (docs/missions.md, "Whose memory")."""

from quorate.missions.samples import Held, Missing, Owned, Process, Processes

Key = tuple[int, int]
"""A process: pid and start time."""
Owner = tuple[str, str] | None
"""Uid and container; None for a process to leave out."""
NOBODY = ""
"""The uid of processes that nobody is known to own."""
MOST_OWNERS = 8_192


class Attribution:
    """Knows which process belongs to whom, and sums process lists by pod and container."""

    __slots__ = ("_listed", "_owners", "_resolved", "unattributed")

    def __init__(self) -> None:
        self._owners: dict[Key, Owner] = {}
        self._listed: dict[str, list[Key]] = {}
        self._resolved: dict[str, list[Owner]] = {}
        self.unattributed: dict[str, int] = {}
        """Device → bytes of processes that nobody is known to own."""

    def own(self, event: Owned) -> None:
        """Learn a process's owner."""
        self._owners[event.pid, event.start] = None if event.uid is None else (event.uid, event.container)
        self._resolved.clear()
        if len(self._owners) > MOST_OWNERS:
            self._forget()

    def _forget(self) -> None:
        """Drop the oldest that no list names."""
        listed = {key for keys in self._listed.values() for key in keys}
        for key in [key for key in self._owners if key not in listed][: MOST_OWNERS // 8]:
            del self._owners[key]

    def share(self, event: Processes, holders: frozenset[str]) -> dict[str, Held]:
        """Each pod's share: of the pods with a process on the list, and of `holders` (uids) without one."""
        if isinstance(event.rows, Missing):
            return {uid: Held(event.at, event.gpu, {}, complete=False) for uid in holders}
        sums: dict[str, dict[str, int]] = {uid: {} for uid in holders}
        partial: set[str] = set()
        nobody = 0
        for row, owner in zip(event.rows, self._owners_of(event.gpu, event.rows), strict=True):
            used = row.used
            number = 0 if isinstance(used, Missing) else used
            if owner is None:
                continue
            uid, container = owner
            if uid == NOBODY:
                nobody += number
                continue
            shares = sums.setdefault(uid, {})
            shares[container] = shares.get(container, 0) + number
            if used is not number:
                partial.add(uid)
        self.unattributed[event.gpu] = nobody
        return {uid: Held(event.at, event.gpu, found, uid not in partial) for uid, found in sums.items()}

    def _owners_of(self, gpu: str, rows: tuple[Process, ...]) -> list[Owner]:
        """The owner of each row; looked up again only when the processes or what is known of them changed."""
        keys = [(row.pid, row.start) for row in rows]
        before = self._listed.get(gpu)
        if before != keys:
            self._listed[gpu] = keys
            self._resolved.pop(gpu, None)
            for key in set(before or ()).difference(keys):
                if not any(key in listed for listed in self._listed.values()):
                    self._owners.pop(key, None)
        resolved = self._resolved.get(gpu)
        if resolved is None:
            resolved = self._resolved[gpu] = [self._owners.get(key, (NOBODY, "")) for key in keys]
        return resolved
