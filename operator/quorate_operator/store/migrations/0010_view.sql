-- Entries for people with SQL: the record decoded (docs/audit-format.md). A view for reading, never for verifying.
SET LOCAL ROLE quorate_owner;

-- Bytes of a record's header as a number; `at` counts from 0. 4 bytes are unsigned, 8 bytes signed.
CREATE FUNCTION quorate.header_number(record bytea, at integer, size integer) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ('x' || lpad(encode(substring(record FROM at + 1 FOR size), 'hex'), 16, '0'))::bit(64)::bigint
$$;

CREATE FUNCTION quorate.header_length(record bytea) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT 87 + get_byte(record, 1) * 256 + get_byte(record, 2)
$$;

-- jsonb has no NUL: one that canonical JSON writes as \u0000 is shown as U+FFFD. Two backslashes before it are none.
CREATE FUNCTION quorate.record_content(record bytea) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT regexp_replace(
        convert_from(substring(record FROM quorate.header_length(record) + 1), 'UTF8'),
        '(?<!\\)((?:\\\\)*)\\u0000', '\1' || chr(65533), 'g'
    )::jsonb
$$;

-- With the rights of whoever asks: the row security of the entries is theirs, not the owner's.
CREATE VIEW quorate.entry WITH (security_invoker = true) AS
SELECT
    e.chain_id,
    e.seq,
    quorate.header_number(e.record, quorate.header_length(e.record) - 84, 4) AS epoch,
    timestamptz 'epoch' + quorate.header_number(e.record, quorate.header_length(e.record) - 72, 8) * interval '1 microsecond'
        AS sealed_at,
    (c.content ->> 'entry_id')::uuid AS entry_id,
    c.content ->> 'event_type' AS event_type,
    c.content ->> 'actor_id' AS actor_id,
    c.content #>> '{payload,subject,key}' AS subject_key,
    c.content
FROM quorate.audit_entry e CROSS JOIN LATERAL (SELECT quorate.record_content(e.record) AS content) c;

-- The entries whose subject key is `name`, or that are about it: two index probes instead of a reading of everything.
CREATE FUNCTION quorate.entries_about(name text) RETURNS SETOF quorate.entry LANGUAGE sql STABLE STRICT AS $$
    SELECT e.* FROM (
        SELECT chain_id, seq FROM quorate.audit_event_id WHERE subject = quorate.name_key(name)
        UNION SELECT chain_id, seq FROM quorate.audit_about WHERE key = quorate.name_key(name)
    ) i CROSS JOIN LATERAL (SELECT * FROM quorate.entry WHERE chain_id = i.chain_id AND seq = i.seq LIMIT 1) e
    ORDER BY e.chain_id, e.seq
$$;

GRANT SELECT ON quorate.entry TO quorate_read;
REVOKE ALL ON FUNCTION quorate.header_number(bytea, integer, integer), quorate.header_length(bytea),
    quorate.record_content(bytea), quorate.entries_about(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quorate.header_number(bytea, integer, integer), quorate.header_length(bytea),
    quorate.record_content(bytea), quorate.entries_about(text) TO quorate_read;
RESET ROLE;
