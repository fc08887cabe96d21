"""The SQL of the store."""

from quorate_operator.store.line import Statement


def _call(function: str, parameters: int) -> bytes:
    numbers = ", ".join(f"${number}" for number in range(1, parameters + 1))
    return f"SELECT quorate.{function}({numbers})".encode()


SCHEMA = "SELECT version, digest FROM quorate.migration ORDER BY version"
TAKE_TERM = "SELECT quorate.take_term(%s)"
LOCK_TERM = "SELECT term, holder FROM quorate.held_term()"
TERM = "SELECT term, holder FROM quorate.leader_term"
MAKE_CHAIN = "SELECT quorate.make_chain(%s)"
# LATERAL … LIMIT 1 below: one index probe in the one partition that holds the row, whatever the planner believes of the
# tables; a plain join may become a hash join over every partition of every chain.
_ENTRY = """
JOIN LATERAL (
    SELECT e.record FROM quorate.audit_entry e WHERE e.chain_id = i.chain_id AND e.seq = i.seq
    UNION ALL SELECT k.record FROM quorate.audit_kept k WHERE k.chain_id = i.chain_id AND k.seq = i.seq LIMIT 1
) e ON true
"""
# The record is NULL where the entry was pruned and not kept.
RECORDED = f"""
SELECT i.chain_id, i.seq, i.event_id, e.record FROM quorate.audit_event_id i LEFT {_ENTRY} WHERE i.event_id = ANY(%s)
"""  # noqa: S608 - constants
# The last entry of each subject in each chain: from each the next chain's, so that a long history costs nothing.
_LAST = """
unnest(%s::uuid[]) AS u(subject) CROSS JOIN LATERAL (
    WITH RECURSIVE last AS (
        (SELECT chain_id, seq, event_id FROM quorate.audit_event_id WHERE subject = u.subject
         ORDER BY chain_id DESC, seq DESC LIMIT 1)
        UNION ALL
        SELECT n.* FROM last CROSS JOIN LATERAL (
            SELECT chain_id, seq, event_id FROM quorate.audit_event_id
            WHERE subject = u.subject AND chain_id < last.chain_id ORDER BY chain_id DESC, seq DESC LIMIT 1) n
    ) SELECT * FROM last
) i
"""
SEAL = Statement(b"seal", _call("seal", 14))
SEAL_BESIDE = Statement(b"seal_beside", _call("seal_beside", 26))
SOURCES = "SELECT source, seq FROM quorate.captured_source WHERE source = ANY(%s)"
PARTITIONS_AHEAD = """
SELECT min(a.ahead)::int FROM quorate.chain_head h CROSS JOIN LATERAL (
    SELECT count(*) AS ahead FROM generate_series(1, 8) AS n WHERE to_regclass('quorate.audit_entry_' || md5(h.chain_id)
        || '_' || (greatest(h.size - 1, 0) / quorate.partition_width() + n)) IS NOT NULL
) a
"""
PUT_CONTENT = "SELECT quorate.put_content(%s::text[], %b::bytea[])"
HEADS = f"SELECT i.chain_id, i.seq, i.event_id, e.record, u.subject FROM {_LAST} LEFT {_ENTRY}"  # noqa: S608 - constants
ABOUT = f"""
SELECT i.chain_id, i.seq, i.event_id, e.record FROM (
    SELECT chain_id, seq, event_id FROM quorate.audit_event_id WHERE subject = %s
    UNION SELECT chain_id, seq, NULL FROM quorate.audit_about WHERE key = %s
) i {_ENTRY} ORDER BY 1, 2
"""  # noqa: S608 - constants
# Four index ranges a name; '' is before every chain.
SINCE = f"""
SELECT i.chain_id, i.seq, i.event_id, e.record, u.name
FROM unnest(%s::uuid[], %s::text[], %s::bigint[]) AS u(name, chain, seq) CROSS JOIN LATERAL (
    SELECT chain_id, seq, event_id FROM quorate.audit_event_id
    WHERE subject = u.name AND (chain_id, seq) >= (u.chain COLLATE "C", u.seq)
    UNION ALL SELECT chain_id, seq, event_id FROM quorate.audit_event_id
    WHERE subject = u.name AND chain_id < u.chain COLLATE "C"
    UNION ALL SELECT chain_id, seq, NULL FROM quorate.audit_about
    WHERE key = u.name AND (chain_id, seq) >= (u.chain COLLATE "C", u.seq)
    UNION ALL SELECT chain_id, seq, NULL FROM quorate.audit_about
    WHERE key = u.name AND chain_id < u.chain COLLATE "C"
) i {_ENTRY} ORDER BY 1, 2
"""  # noqa: S608 - constants
CHAINS = "SELECT chain_id, epoch, size, chain_hash, frontier FROM quorate.chain_head WHERE size > 0 ORDER BY chain_id"
HEAD = "SELECT epoch, size, chain_hash, frontier FROM quorate.chain_head WHERE chain_id = %s AND size > 0"
TIP = """
SELECT epoch, size, chain_hash, frontier, sealed_at, quarantine FROM quorate.chain_head WHERE chain_id = %s
"""
ENTRIES = """
SELECT seq, record FROM quorate.audit_entry WHERE chain_id = %s AND seq >= %s AND seq < %s ORDER BY seq LIMIT 2000
"""
CHECKPOINT_AT = "SELECT note FROM quorate.checkpoint WHERE chain_id = %s AND size = %s AND signer = %s"
INSERT_CHECKPOINT = """
INSERT INTO quorate.checkpoint (chain_id, size, signer, note) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_NOTE = """
SELECT note || coalesce((
    SELECT string_agg(line, '' ORDER BY number) FROM quorate.cosignature k
    WHERE k.chain_id = c.chain_id AND k.size = c.size
), '') FROM quorate.checkpoint c
"""
CHECKPOINTS = f"{_NOTE} WHERE chain_id = %s AND size >= %s ORDER BY size, signer"
NEWEST_CHECKPOINT = f"{_NOTE} WHERE chain_id = %s ORDER BY size DESC, signer DESC LIMIT 1"
CONTENT = "SELECT digest, bytes FROM quorate.content WHERE digest = ANY(%s)"
ERASABLE = "SELECT digest, salt, bytes FROM quorate.audit_content WHERE entry_id = %s ORDER BY digest"
OLDEST = """
SELECT (SELECT intake_at FROM quorate.audit_intake WHERE chain_id = %s ORDER BY pos LIMIT 1),
    (SELECT quarantine FROM quorate.chain_head WHERE chain_id = %s)
"""
WAITING = """
SELECT pos, entry_id, intake_at, content, hmac FROM quorate.audit_intake WHERE chain_id = %s AND pos >= %s
ORDER BY pos LIMIT %s
"""
SET_ASIDE = """
WITH gone AS (
    DELETE FROM quorate.audit_intake i USING unnest(%s::bigint[], %s::text[]) AS u(pos, reason) WHERE i.pos = u.pos
    RETURNING i.chain_id, i.pos, i.entry_id, i.content, i.intake_at, i.hmac, u.reason
)
INSERT INTO quorate.audit_intake_refused (chain_id, pos, entry_id, content, intake_at, hmac, reason)
SELECT * FROM gone
"""
DROP_WAITING = "DELETE FROM quorate.audit_intake WHERE pos = ANY(%s)"
BACKLOG = """
SELECT chain_id, count(*), min(intake_at), min(pos), max(pos) FROM quorate.audit_intake WHERE pos >= %s
GROUP BY chain_id ORDER BY chain_id
"""
REFUSED = "SELECT count(*) FROM quorate.audit_intake_refused"
