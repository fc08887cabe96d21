"""The SQL of the store."""

SCHEMA = "SELECT version, digest FROM quorate.migration ORDER BY version"
TAKE_TERM = """
UPDATE quorate.leader_term SET term = term + 1, holder = %s, taken_at = clock_timestamp() RETURNING term
"""
LOCK_TERM = "SELECT term, holder FROM quorate.leader_term FOR SHARE"
LOCK_TERM_AND_HEAD = """
SELECT t.term, t.holder, h.epoch, h.size, h.chain_hash, h.frontier, h.sealed_at
FROM quorate.leader_term t, quorate.chain_head h WHERE h.chain_id = %s FOR SHARE OF t FOR UPDATE OF h
"""
MAKE_CHAIN = "SELECT quorate.make_chain(%s)"
MAKE_PARTITIONS = "SELECT quorate.make_partition(%s, n) FROM generate_series(%s::bigint, %s::bigint) n"
# LATERAL … LIMIT 1 below: one index probe in the one partition that holds the row, whatever the planner believes of the
# tables; a plain join may become a hash join over every partition of every chain.
_ENTRY = """
JOIN LATERAL (
    SELECT e.entry_id, e.record FROM quorate.audit_entry e WHERE e.chain_id = i.chain_id AND e.seq = i.seq LIMIT 1
) e ON true
"""
RECORDED = f"""
SELECT i.chain_id, i.seq, e.entry_id, e.record FROM quorate.audit_event_id i {_ENTRY} WHERE i.event_id = ANY(%s)
"""  # noqa: S608 - constants
LAST_IDS = "SELECT subject_key, entry_id FROM quorate.audit_subject WHERE subject_key = ANY(%s)"
# One statement, because each costs a batch of one as much as all its hashing.
WRITE_BATCH = """
WITH row AS (
    SELECT %s::text AS chain_id, u.* FROM unnest(%s::bigint[], %b::uuid[], %s::text[], %b::bytea[], %b::bytea[],
    %b::bytea[]) AS u(seq, entry_id, subject_key, record, leaf, chain_hash)
), ids AS (
    INSERT INTO quorate.audit_event_id (event_id, chain_id, seq) SELECT entry_id, chain_id, seq FROM row
), entries AS (
    INSERT INTO quorate.audit_entry (chain_id, seq, entry_id, subject_key, record, leaf, chain_hash)
    SELECT chain_id, seq, entry_id, subject_key, record, leaf, chain_hash FROM row
), subjects AS (
    INSERT INTO quorate.audit_subject (subject_key, entry_id, seq, chain_id)
    SELECT DISTINCT ON (subject_key) subject_key, entry_id, seq, chain_id FROM row ORDER BY subject_key, seq DESC
    ON CONFLICT (subject_key) DO UPDATE
    SET entry_id = excluded.entry_id, seq = excluded.seq, chain_id = excluded.chain_id
), about AS (
    INSERT INTO quorate.audit_about (digest, seq, chain_id)
    SELECT a.digest, a.seq, %s::text FROM unnest(%s::text[], %s::bigint[]) AS a(digest, seq)
)
UPDATE quorate.chain_head SET epoch = %s, size = %s, chain_hash = %s, frontier = %s, sealed_at = %s, term = %s
WHERE chain_id = %s AND size = %s
"""
INSERT_CONTENT = """
INSERT INTO quorate.content (digest, bytes) SELECT * FROM unnest(%s::text[], %b::bytea[]) ON CONFLICT DO NOTHING
"""
HEADS = f"""
SELECT i.chain_id, i.seq, e.entry_id, e.record, i.subject_key
FROM quorate.audit_subject i {_ENTRY} WHERE i.subject_key = ANY(%s)
"""  # noqa: S608 - constants
ABOUT = f"""
SELECT i.chain_id, i.seq, e.entry_id, e.record FROM quorate.audit_about i {_ENTRY} WHERE i.digest = %s ORDER BY 1, 2
"""  # noqa: S608 - constants
CHAINS = "SELECT chain_id, epoch, size, chain_hash, frontier FROM quorate.chain_head WHERE size > 0 ORDER BY chain_id"
HEAD = "SELECT epoch, size, chain_hash, frontier FROM quorate.chain_head WHERE chain_id = %s AND size > 0"
ENTRIES = """
SELECT seq, entry_id, record, leaf, chain_hash, subject_key FROM quorate.audit_entry
WHERE chain_id = %s AND seq >= %s AND seq < %s ORDER BY seq LIMIT 2000
"""
LEAVES = "SELECT leaf FROM quorate.audit_entry WHERE chain_id = %s AND seq >= %s AND seq < %s ORDER BY seq"
TILE_ROOTS = """
SELECT root FROM quorate.merkle_tile WHERE chain_id = %s AND level = %s AND number >= %s AND number < %s ORDER BY number
"""
INSERT_TILE = """
INSERT INTO quorate.merkle_tile (chain_id, level, number, hashes, root) VALUES (%s, %s, %s, %s, %s)
"""
CHECKPOINT_AT = "SELECT note FROM quorate.checkpoint WHERE chain_id = %s AND size = %s AND signer = %s"
INSERT_CHECKPOINT = """
INSERT INTO quorate.checkpoint (chain_id, size, signer, note) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
CHECKPOINTS = """
SELECT note || coalesce((
    SELECT string_agg(line, '' ORDER BY number) FROM quorate.cosignature k
    WHERE k.chain_id = c.chain_id AND k.size = c.size
), '') FROM quorate.checkpoint c WHERE chain_id = %s AND size >= %s ORDER BY size, signer
"""
CONTENT = "SELECT digest, bytes FROM quorate.content WHERE digest = ANY(%s)"
PUT_INTAKE = """
INSERT INTO quorate.audit_intake (chain_id, entry_id, content, intake_at, hmac)
SELECT %s, %s, %b::bytea, %s::bigint, %b::bytea WHERE NOT EXISTS (
    SELECT FROM (SELECT intake_at FROM quorate.audit_intake WHERE chain_id = %s ORDER BY pos LIMIT 1) oldest
    WHERE oldest.intake_at < %s
)
"""
DRAIN = """
WITH waiting AS (
    SELECT pos FROM quorate.audit_intake WHERE chain_id = %s ORDER BY pos LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM quorate.audit_intake i USING waiting w WHERE i.pos = w.pos
RETURNING i.pos, i.entry_id, i.intake_at, i.content, i.hmac
"""
SET_ASIDE = """
INSERT INTO quorate.audit_intake_refused (chain_id, pos, entry_id, content, intake_at, hmac, reason)
SELECT %s, u.* FROM unnest(%s::bigint[], %b::uuid[], %b::bytea[], %s::bigint[], %b::bytea[], %s::text[]) u
"""
BACKLOG = "SELECT chain_id, count(*), min(intake_at) FROM quorate.audit_intake GROUP BY chain_id ORDER BY chain_id"
REFUSED = "SELECT count(*) FROM quorate.audit_intake_refused"
