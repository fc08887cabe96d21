"""Prometheus metrics of the operator; reasons are those of conditions and Events."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

DIRTY = Gauge("quorate_planner_dirty_keys", "Keys waiting for a pass.", registry=REGISTRY)
PASS_SECONDS = Histogram(
    "quorate_planner_pass_seconds",
    "Gather, decide and apply of one kind's batch.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
RECONCILED = Counter("quorate_reconciled_total", "Keys that were looked at.", ["kind"], registry=REGISTRY)
FAILURES = Counter("quorate_failures_total", "Reconciles that failed.", ["kind", "reason"], registry=REGISTRY)
CONFLICTS = Counter("quorate_conflicts_total", "Writes answered with 409.", ["kind"], registry=REGISTRY)
EVENTS_DROPPED = Counter("quorate_events_dropped_total", "Events that the bounded queue refused.", registry=REGISTRY)
NOTIFICATIONS = Counter(
    "quorate_notifications_total", "Notices that votes are needed: delivered, failed, dropped.", ["result"],
    registry=REGISTRY,
)  # fmt: skip
NOTIFICATIONS_WAITING = Gauge("quorate_notifications_waiting", "Notices that are under way.", registry=REGISTRY)
LOOP_LAG = Gauge("quorate_event_loop_lag_seconds", "How late a one-second timer fired.", registry=REGISTRY)
LEADER = Gauge("quorate_leader", "1 while this process leads.", registry=REGISTRY)
TERM = Gauge("quorate_leader_term", "Term taken from Postgres.", registry=REGISTRY)
OBJECTS = Gauge("quorate_watched_objects", "Objects in the view.", ["kind"], registry=REGISTRY)
_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
APPEND_SECONDS = Histogram(
    "quorate_append_seconds", "From an append's call until it is durable.", buckets=_LATENCIES, registry=REGISTRY
)
LOCK_SECONDS = Histogram(
    "quorate_append_lock_seconds", "Wait of a sealing transaction for term and head.", buckets=_LATENCIES,
    registry=REGISTRY,
)  # fmt: skip
APPEND_RETRIES = Counter(
    "quorate_append_retries_total", "Batches that were sealed again, with a look at what is recorded.", ["reason"],
    registry=REGISTRY,
)  # fmt: skip
INTAKE_WAITING = Gauge("quorate_intake_waiting", "Entries taken in that wait to be sealed.", registry=REGISTRY)
INTAKE_AGE = Gauge("quorate_intake_age_seconds", "How long the oldest entry taken in waits.", registry=REGISTRY)
QUARANTINED = Gauge("quorate_chain_quarantined", "1 while the chain is stopped.", ["chain"], registry=REGISTRY)
QUARANTINES = Counter(
    "quorate_quarantines_total", "Quarantines that this process raised (flaps).", ["chain", "cause"], registry=REGISTRY
)
LOG_INTACT = Gauge("quorate_log_intact", "1 if the last verification found no fault.", ["chain"], registry=REGISTRY)
VERIFIED_AT = Gauge(
    "quorate_verification_success_timestamp_seconds",
    "When a verification last found no fault, Unix seconds.",
    ["chain", "extent"],
    registry=REGISTRY,
)
VERIFY_SECONDS = Gauge(
    "quorate_verification_seconds", "How long the last verification took.", ["chain", "extent"], registry=REGISTRY
)
VERIFY_RATE = Gauge(
    "quorate_verification_entries_per_second", "Rate of the last verification.", ["chain", "extent"], registry=REGISTRY
)
VERIFY_ERRORS = Counter(
    "quorate_verification_errors_total", "Verifications that gave no result.", ["chain"], registry=REGISTRY
)
PUBLISHED = Gauge("quorate_published_entries", "Size of the published checkpoint.", ["chain"], registry=REGISTRY)
PUBLICATION_FAILURES = Counter(
    "quorate_publication_failures_total", "Publications that failed.", ["chain", "reason"], registry=REGISTRY
)
CATALOGUE_CHANGES = Counter(
    "quorate_catalogue_changes_total", "Times the database's catalogue was found changed.", registry=REGISTRY
)
CATALOGUE_OPEN = Gauge(
    "quorate_catalogue_changed", "1 while a changed catalogue is not acknowledged.", registry=REGISTRY
)
DDL_GUARD = Gauge("quorate_ddl_guard", "1 if the event triggers against DDL on the log fire.", registry=REGISTRY)
PGAUDIT = Gauge("quorate_pgaudit", "1 if pgaudit writes something.", registry=REGISTRY)
ARCHIVED = Gauge(
    "quorate_archived_entries", "Entries that left the database for archives.", ["chain"], registry=REGISTRY
)
PRUNE_SECONDS = Gauge("quorate_prune_seconds", "How long the last prune took.", ["chain"], registry=REGISTRY)
PRUNE_FAILURES = Counter(
    "quorate_prune_failures_total", "Prunes that did not come to their end.", ["chain", "reason"], registry=REGISTRY
)
PARTITIONS_AHEAD = Gauge(
    "quorate_partitions_ahead",
    "Partitions that are ready behind the last entry, of the chain with the fewest; alarm below 1.",
    registry=REGISTRY,
)
