"""The workloads of a node as the agent knows them: sessions, what they take, what they were asked (mission protocol).

Pure: the server passes what arrived and when, and sends what comes back. Times are microseconds of the agent's clock.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from quorate.api.mission_policy import LadderAction
from quorate.canonical import digest_of
from quorate.missions.protocol import Answered, Directive, Hello, Message, ProtocolRefusedError, Ran, Takes, Told
from quorate.missions.samples import Acknowledged, Answer, Event, Latencies, Metric, Report, Run
from quorate.missions.series import SECOND

MOST_SESSIONS = 32
"""Of a pod, remembered; those without a connection are forgotten first."""
MOST_ASKED = 32
"""Directives of a pod that are not settled; the oldest is given up."""
GRACE = 10 * SECOND
"""A session without a connection still counts so long: reconnecting is no change."""
SLACK = 2 * SECOND
_WORST = (Answer.FAILED, Answer.REFUSED, Answer.DONE)


@dataclass(frozen=True, slots=True)
class Key:
    """One session: the pod by uid, and what the workload called it."""

    uid: str
    session: str


@dataclass(slots=True)
class _Session:
    takes: frozenset[LadderAction]
    seq: int = 0
    reported: int | None = None
    """When the last report of this connection came."""
    gone: int | None = None


@dataclass(slots=True)
class _Asked:
    directive: Directive
    until: int
    waiting: set[str]
    answers: list[Answer] = field(default_factory=list)

    def left(self, now: int) -> Directive:
        """The directive with the time that is left of it."""
        directive = self.directive
        return Directive(directive.id, directive.action, max(0, self.until - now), directive.policy, directive.rule,
                         directive.arguments)  # fmt: skip


@dataclass(slots=True)
class _Pod:
    sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict)
    asked: OrderedDict[str, _Asked] = field(default_factory=OrderedDict)


class Sessions:
    """Everything that is known about the workloads of a node; bounded by pod, a pod's part ends with `forget`."""

    def __init__(self) -> None:
        self._pods: dict[str, _Pod] = {}
        self.lost = 0
        """Calls that workloads could not report, together."""

    def takes(self, uid: str, now: int) -> frozenset[LadderAction]:
        """What some workload of the pod can carry out."""
        pod = self._pods.get(uid)
        counted = [session.takes for session in pod.sessions.values() if _counts(session, now)] if pod else []
        return frozenset[LadderAction]().union(*counted)

    def hello(self, uid: str, hello: Hello, now: int) -> tuple[Key, list[Directive]]:
        """A connection says who it is: the session, and what it is asked (again)."""
        pod = self._pods.setdefault(uid, _Pod())
        session = pod.sessions.pop(hello.session, None) or _Session(hello.takes)
        session.takes, session.reported, session.gone = hello.takes, None, None
        pod.sessions[hello.session] = session
        while len(pod.sessions) > MOST_SESSIONS:
            away = (name for name, other in pod.sessions.items() if other.gone is not None)
            del pod.sessions[next(away, next(iter(pod.sessions)))]
        asked = [
            asked.left(now) for asked in pod.asked.values() if hello.session in asked.waiting and now < asked.until
        ]
        return Key(uid, hello.session), asked

    def gone(self, key: Key, now: int) -> None:
        """The connection of a session ended."""
        session = self._find(key)
        if session is not None:
            session.gone = now

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._pods.pop(uid, None)

    def take(self, key: Key, message: Message, now: int) -> list[Event]:
        """What a message says; nothing where it was taken before.

        Raises:
            ProtocolRefusedError: a second hello, or a report that claims a longer time than has passed.
        """
        session = self._find(key)
        if session is None:  # forgotten: the pod is gone, or has too many sessions
            return []
        match message:
            case Hello():
                raise ProtocolRefusedError("type", "hello", "only the first message is a hello")
            case Takes(takes):
                session.takes = takes
                return []
            case Answered():
                return self._answered(key, message, now)
            case Told() | Ran():
                if message.seq <= session.seq:
                    return []
                events = (
                    self._told(key.uid, session, message, now) if isinstance(message, Told) else _ran(key, message, now)
                )
                session.seq = message.seq
                return events

    def ask(self, uid: str, directive: Directive, now: int) -> list[Key]:
        """Ask every workload of the pod that takes it, once; the sessions to send it to."""
        pod = self._pods.get(uid)
        if pod is None or directive.id in pod.asked:
            return []
        takers = {
            name
            for name, session in pod.sessions.items()
            if directive.action in session.takes and _counts(session, now)
        }
        if not takers:
            return []
        pod.asked[directive.id] = _Asked(directive, now + directive.within, takers)
        if len(pod.asked) > MOST_ASKED:
            pod.asked.popitem(last=False)
        return [Key(uid, name) for name in sorted(takers) if pod.sessions[name].gone is None]

    def settle(self, now: int) -> list[Event]:
        """Call about once a second: who went away is waited for no longer, and whose time is over is given up."""
        events: list[Event] = []
        for pod in self._pods.values():
            for asked in list(pod.asked.values()):
                left = {name for name in asked.waiting if name in pod.sessions and _counts(pod.sessions[name], now)}
                asked.waiting = left
                events += self._settled(pod, asked, now)
                if now >= asked.until:
                    pod.asked.pop(asked.directive.id, None)
        return events

    def _find(self, key: Key) -> _Session | None:
        pod = self._pods.get(key.uid)
        return pod.sessions.get(key.session) if pod else None

    def _answered(self, key: Key, message: Answered, now: int) -> list[Event]:
        pod = self._pods[key.uid]
        asked = pod.asked.get(message.id)
        if asked is None or key.session not in asked.waiting or now >= asked.until:
            return []
        asked.waiting.remove(key.session)
        asked.answers.append(message.answer)
        return self._settled(pod, asked, now)

    @staticmethod
    def _settled(pod: _Pod, asked: _Asked, now: int) -> list[Event]:
        """The worst answer, once nobody is waited for."""
        if asked.waiting:
            return []
        del pod.asked[asked.directive.id]
        worst = next((answer for answer in _WORST if answer in asked.answers), None)
        return [] if worst is None else [Acknowledged(now, asked.directive.id, worst)]

    def _told(self, uid: str, session: _Session, message: Told, now: int) -> list[Event]:
        if session.reported is not None and message.span > now - session.reported + SLACK:
            rule = f"only {now - session.reported} microseconds have passed since the last report"
            raise ProtocolRefusedError("span", message.span, rule)
        session.reported = now
        self.lost += message.lost
        events: list[Event] = [
            Latencies(now, uid, counts, source) for source, counts in message.latency.items() if counts
        ]
        events += [Report(now, uid, metric, value) for metric, value in message.gauges.items()]
        return events + [Report(now, uid, Metric.OBJECTIVE, value, name) for name, value in message.objective.items()]


def _counts(session: _Session, now: int) -> bool:
    return session.gone is None or now - session.gone < GRACE


def _ran(key: Key, message: Ran, now: int) -> list[Event]:
    return [Run(now, key.uid, digest_of(dict(message.facts)), "sha256:" + message.result)]
