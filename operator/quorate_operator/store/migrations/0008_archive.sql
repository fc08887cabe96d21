-- Pruning, archives and erasure (audit.md, 10).
SET LOCAL ROLE quorate_owner;

-- The functions below read what they move; forced row security would hide it from their owner.
CREATE OR REPLACE FUNCTION quorate.guard_rows(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY reading ON %s FOR SELECT TO quorate_app, quorate_sealer, quorate_read, quorate_maint, '
                   'quorate_owner USING (true)', target);
    EXECUTE format('CREATE POLICY sealing ON %s FOR INSERT TO quorate_owner WITH CHECK (true)', target);
END $$;
DO $$
DECLARE
    target regclass;
BEGIN
    FOR target IN SELECT polrelid FROM pg_policy WHERE polname = 'reading' LOOP
        EXECUTE format('ALTER POLICY reading ON %s TO quorate_app, quorate_sealer, quorate_read, quorate_maint, '
                       'quorate_owner', target);
    END LOOP;
END $$;

-- Entries of a partition: a power of two from 256 on, so that it is whole tiles. Never changed once a chain has partitions.
CREATE FUNCTION quorate.partition_width() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 1048576::bigint';
CREATE OR REPLACE FUNCTION quorate.make_partition(chain text, number bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT bigint := quorate.partition_width();
    name text := 'audit_entry_' || md5(chain) || '_' || number;
BEGIN
    IF number < 0 OR octet_length(chain) NOT BETWEEN 1 AND 512 THEN
        RAISE EXCEPTION 'no partition % of chain %', number, chain USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('quorate.dev/partition', 0));
    IF to_regclass('quorate.' || quote_ident(name)) IS NOT NULL
       OR EXISTS (SELECT FROM quorate.prune p WHERE p.chain_id = chain AND p.number = make_partition.number) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE quorate.%I (LIKE quorate.audit_entry INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE quorate.audit_entry ATTACH PARTITION quorate.%I FOR VALUES FROM (%L, %s) TO (%L, %s)',
                   name, chain, number * width, chain, (number + 1) * width);
    PERFORM quorate.protect(format('quorate.%I', name)::regclass);
    PERFORM quorate.guard_rows(format('quorate.%I', name)::regclass);
    RETURN true;
END $$;

-- What leaves with a partition, step by step; a run that ended early is found here by the next one.
CREATE TABLE quorate.prune (
    chain_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL CHECK (number >= 0),
    first_seq bigint NOT NULL,
    end_seq bigint NOT NULL CHECK (end_seq > first_seq),
    state text NOT NULL DEFAULT 'exporting' CHECK (state IN ('exporting', 'detached', 'dropped', 'done')),
    archive text NOT NULL,
    actor text NOT NULL,
    intent uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    epoch integer,
    sealed_at bigint,
    chain_hash bytea CHECK (octet_length(chain_hash) = 32),
    manifest text,
    completion uuid,
    PRIMARY KEY (chain_id, number),
    CHECK (state = 'exporting' OR num_nulls(epoch, sealed_at, chain_hash, manifest) = 0),
    CHECK ((state = 'done') = (completion IS NOT NULL))
);
CREATE FUNCTION quorate.prune_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR (NEW.chain_id, NEW.number, NEW.intent) IS DISTINCT FROM (OLD.chain_id, OLD.number, OLD.intent)
       OR (OLD.state, NEW.state) NOT IN (('exporting', 'detached'), ('detached', 'dropped'), ('dropped', 'done'))
       OR (OLD.state <> 'exporting' AND (NEW.chain_hash, NEW.manifest, NEW.epoch, NEW.sealed_at)
           IS DISTINCT FROM (OLD.chain_hash, OLD.manifest, OLD.epoch, OLD.sealed_at)) THEN
        RAISE EXCEPTION '% on quorate.prune is refused: a prune goes on step by step', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON quorate.prune
    FOR EACH ROW EXECUTE FUNCTION quorate.prune_goes_on();
SELECT quorate.protect('quorate.prune');

-- Entries of pruned partitions that the operator reads again (docs/archive.md, "What stays").
CREATE TABLE quorate.audit_kept (
    chain_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    record bytea NOT NULL CHECK (octet_length(record) <= 65535),
    PRIMARY KEY (chain_id, seq)
);
SELECT quorate.protect('quorate.audit_kept');

-- Where entries of a detached partition are looked up by: their rows may leave, and no other row ever.
CREATE FUNCTION quorate.leaves_with_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' OR NOT EXISTS (
        SELECT FROM quorate.prune p WHERE p.chain_id = OLD.chain_id AND p.state = 'detached'
        AND OLD.seq >= p.first_seq AND OLD.seq < p.end_seq
    ) THEN
        RAISE EXCEPTION '% on quorate.% is refused: the log is append-only', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON quorate.audit_about
    FOR EACH ROW EXECUTE FUNCTION quorate.leaves_with_entry();
ALTER TABLE quorate.audit_about ENABLE ALWAYS TRIGGER append_only;

CREATE FUNCTION quorate.is_recorded(entry uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM quorate.audit_event_id WHERE event_id = entry AND chain_id = 'system')
$$;

-- Whether an entry of chain `system` tells of an event about a name; `waits`: it may be in the intake still. Any other
-- entry, whoever names it, tells nothing: who may only execute must not do what the log does not say.
CREATE FUNCTION quorate.tells(entry uuid, event text, name text, waits boolean) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(bool_or(c.content ->> 'event_type' = event AND c.content #>> '{payload,subject,name}' = name), false)
    FROM (
        SELECT substring(e.record FROM 94) FROM quorate.audit_event_id i
        JOIN quorate.audit_entry e ON e.chain_id = i.chain_id AND e.seq = i.seq
        WHERE i.event_id = entry AND i.chain_id = 'system'
        UNION ALL SELECT content FROM quorate.audit_intake WHERE waits AND chain_id = 'system' AND entry_id = entry
    ) found(bytes) CROSS JOIN LATERAL (SELECT convert_from(found.bytes, 'UTF8')::jsonb AS content) c
$$;
CREATE FUNCTION quorate.part_name(step quorate.prune) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT step.chain_id || '/' || step.first_seq || '-' || step.end_seq
$$;

-- The intent: an entry of chain `system` that waits in the intake of the same transaction, or is sealed already.
CREATE FUNCTION quorate.prune_begin(chain text, partition_number bigint, place text, who text, entry uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT bigint := quorate.partition_width();
    finish CONSTANT bigint := (partition_number + 1) * width;
    head quorate.chain_head;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('quorate.dev/prune/' || chain, 0));
    SELECT * INTO head FROM quorate.chain_head WHERE chain_id = chain FOR SHARE;
    IF chain = 'system' OR head.chain_id IS NULL OR head.quarantine IS NOT NULL OR head.size < finish
       OR partition_number <> (SELECT count(*) FROM quorate.prune WHERE chain_id = chain)
       OR EXISTS (SELECT FROM quorate.prune WHERE chain_id = chain AND state <> 'done')
       OR NOT EXISTS (SELECT FROM quorate.checkpoint WHERE chain_id = chain AND size >= finish) THEN
        RAISE EXCEPTION 'partition % of chain % may not be pruned: it must be the oldest one, full, below a checkpoint, '
            'in a chain that is neither system nor in quarantine', partition_number, chain
            USING ERRCODE = 'QP001';
    END IF;
    IF NOT quorate.tells(entry, 'system.partition.pruning', chain || '/' || partition_number * width || '-' || finish, true)
    THEN
        RAISE EXCEPTION 'the intent % is not in the log', entry USING ERRCODE = 'QP001';
    END IF;
    INSERT INTO quorate.prune (chain_id, number, first_seq, end_seq, archive, actor, intent)
    VALUES (chain, partition_number, partition_number * width, finish, place, who, entry);
END $$;

-- `kept` are sequences of entries that stay. The lock that every append needs is
-- taken last and held until the commit that follows.
CREATE FUNCTION quorate.prune_detach(
    chain text, partition_number bigint, last_epoch integer, last_sealed_at bigint, last_hash bytea, digest text,
    kept bigint[], place text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    step quorate.prune;
    part text := 'audit_entry_' || md5(chain) || '_' || partition_number;
    following bytea;
BEGIN
    SELECT * INTO step FROM quorate.prune WHERE chain_id = chain AND number = partition_number FOR UPDATE;
    IF step.state IS DISTINCT FROM 'exporting'
       OR NOT quorate.tells(step.intent, 'system.partition.pruning', quorate.part_name(step), false) OR EXISTS (
        SELECT FROM quorate.chain_head WHERE chain_id = chain AND quarantine IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'partition % of chain % may not be detached: its intent must be sealed, the chain not in '
            'quarantine', partition_number, chain USING ERRCODE = 'QP001';
    END IF;
    -- What the next entry names as its predecessor's hash, or the head: the archive must end there.
    SELECT substr(record, 24 + octet_length(chain), 32) INTO following FROM quorate.audit_entry
    WHERE chain_id = chain AND seq = step.end_seq;
    IF following IS NULL THEN
        SELECT chain_hash INTO following FROM quorate.chain_head WHERE chain_id = chain AND size = step.end_seq;
    END IF;
    IF following IS DISTINCT FROM last_hash THEN
        RAISE EXCEPTION 'the archive of partition % of chain % does not end where the chain goes on',
            partition_number, chain USING ERRCODE = 'QP001';
    END IF;
    INSERT INTO quorate.audit_kept (chain_id, seq, record)
    SELECT chain, seq, record FROM quorate.audit_entry
    WHERE chain_id = chain AND seq = ANY (kept) AND seq >= step.first_seq AND seq < step.end_seq;
    UPDATE quorate.prune SET state = 'detached', epoch = last_epoch, sealed_at = last_sealed_at,
        chain_hash = last_hash, manifest = digest, archive = place
    WHERE chain_id = chain AND number = partition_number;
    EXECUTE format('ALTER TABLE quorate.audit_entry DETACH PARTITION quorate.%I', part);
END $$;

CREATE FUNCTION quorate.prune_drop(chain text, partition_number bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    step quorate.prune;
BEGIN
    SELECT * INTO step FROM quorate.prune WHERE chain_id = chain AND number = partition_number FOR UPDATE;
    IF step.state IS DISTINCT FROM 'detached' THEN
        RAISE EXCEPTION 'partition % of chain % is not detached', partition_number, chain
            USING ERRCODE = 'QP001';
    END IF;
    DELETE FROM quorate.audit_about a WHERE a.chain_id = chain AND a.seq >= step.first_seq AND a.seq < step.end_seq
        AND NOT EXISTS (SELECT FROM quorate.audit_kept k WHERE k.chain_id = a.chain_id AND k.seq = a.seq);
    EXECUTE format('DROP TABLE quorate.%I', 'audit_entry_' || md5(chain) || '_' || partition_number);
    UPDATE quorate.prune SET state = 'dropped' WHERE chain_id = chain AND number = partition_number;
END $$;

CREATE FUNCTION quorate.prune_finish(chain text, partition_number bigint, entry uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE quorate.prune p SET state = 'done', completion = entry
    WHERE p.chain_id = chain AND p.number = partition_number AND p.state = 'dropped'
        AND quorate.tells(entry, 'system.partition.pruned', quorate.part_name(p), true);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'partition % of chain % is not dropped, or its completion % is not in the log',
            partition_number, chain, entry USING ERRCODE = 'QP001';
    END IF;
END $$;

-- Erasable payload: salt and bytes go, the digest stays as a tombstone, so that nobody puts the bytes back by a retry.
CREATE TABLE quorate.audit_content (
    digest text COLLATE "C" PRIMARY KEY,
    entry_id uuid NOT NULL,
    salt bytea,
    bytes bytea,
    erased_by uuid,
    CHECK (num_nulls(salt, bytes) = CASE WHEN erased_by IS NULL THEN 0 ELSE 2 END),
    CHECK (erased_by IS NOT NULL OR (octet_length(salt) = 32 AND digest = 'sha256:' || encode(
        sha256('\x71756f726174652e6465762f6572617361626c652f763100'::bytea || salt || bytes), 'hex')))
);
CREATE INDEX audit_content_entry ON quorate.audit_content (entry_id);
CREATE FUNCTION quorate.erased_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR (NEW.digest, NEW.entry_id) IS DISTINCT FROM (OLD.digest, OLD.entry_id)
       OR OLD.erased_by IS NOT NULL OR NEW.erased_by IS NULL OR NOT quorate.is_recorded(NEW.erased_by) THEN
        RAISE EXCEPTION '% on quorate.audit_content is refused: erase() is the only way', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON quorate.audit_content
    FOR EACH ROW EXECUTE FUNCTION quorate.erased_only();
SELECT quorate.protect('quorate.audit_content');

-- What an append stores beside its entries: `sha256:…` → content, `erasable:<entry id>:sha256:…` → 32 bytes salt ‖ bytes.
CREATE FUNCTION quorate.put_content(names text[], contents bytea[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO quorate.content (digest, bytes)
    SELECT u.name, u.bytes FROM unnest(names, contents) AS u(name, bytes) WHERE NOT starts_with(u.name, 'erasable:')
    ON CONFLICT DO NOTHING;
    INSERT INTO quorate.audit_content (digest, entry_id, salt, bytes)
    SELECT substr(u.name, 47), substr(u.name, 10, 36)::uuid, substr(u.bytes, 1, 32), substr(u.bytes, 33)
    FROM unnest(names, contents) AS u(name, bytes) WHERE starts_with(u.name, 'erasable:')
    ON CONFLICT DO NOTHING;
$$;

-- `told`: the sealed entry of chain `system` that names every digest; without it nothing is erased.
CREATE FUNCTION quorate.erase(entry uuid, told uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    saying bytea;
    count bigint;
BEGIN
    SELECT e.record INTO saying FROM quorate.audit_event_id i
    JOIN quorate.audit_entry e ON e.chain_id = i.chain_id AND e.seq = i.seq
    WHERE i.event_id = told AND i.chain_id = 'system';
    IF saying IS NULL OR NOT quorate.tells(told, 'system.content.erased', entry::text, false) OR EXISTS (
        SELECT FROM quorate.audit_content c
        WHERE c.entry_id = entry AND position(convert_to(c.digest, 'UTF8') IN saying) = 0
    ) OR NOT EXISTS (SELECT FROM quorate.audit_event_id WHERE event_id = entry) THEN
        RAISE EXCEPTION 'the erasure of entry % is not in the log as %', entry, told
            USING ERRCODE = 'QP001';
    END IF;
    UPDATE quorate.audit_content SET salt = NULL, bytes = NULL, erased_by = told
    WHERE entry_id = entry AND erased_by IS NULL;
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN count;
END $$;

REVOKE ALL ON FUNCTION quorate.prune_begin(text, bigint, text, text, uuid),
    quorate.prune_detach(text, bigint, integer, bigint, bytea, text, bigint[], text),
    quorate.prune_drop(text, bigint), quorate.prune_finish(text, bigint, uuid), quorate.erase(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quorate.prune_begin(text, bigint, text, text, uuid),
    quorate.prune_detach(text, bigint, integer, bigint, bytea, text, bigint[], text),
    quorate.prune_drop(text, bigint), quorate.prune_finish(text, bigint, uuid), quorate.erase(uuid, uuid)
    TO quorate_maint;
GRANT SELECT ON quorate.prune, quorate.audit_kept TO quorate_app, quorate_sealer, quorate_read, quorate_maint;
GRANT SELECT ON quorate.audit_content TO quorate_app, quorate_sealer, quorate_maint;
-- Auditors see that something is there or was erased, not what it is.
GRANT SELECT (digest, entry_id, erased_by) ON quorate.audit_content TO quorate_read;
-- Not `erased_by`: a tombstone is what erase() leaves, nobody puts one in the place of bytes that are still to come.
GRANT INSERT (digest, entry_id, salt, bytes) ON quorate.audit_content TO quorate_app, quorate_sealer;
RESET ROLE;
