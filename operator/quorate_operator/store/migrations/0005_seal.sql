-- Entries hold their record and nothing that follows from it; one function seals a batch (audit.md, 2 and 4).
SET LOCAL ROLE quorate_owner;

-- What names are looked up by: short, of one length, and no limit on the name. 128 bits: readers compare the name itself.
CREATE FUNCTION quorate.name_key(name text) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(substring(sha256(convert_to(name, 'UTF8')) FOR 16), 'hex')::uuid
$$;

-- Forced row security would hide the entries from their owner, who moves them here.
ALTER TABLE quorate.audit_entry NO FORCE ROW LEVEL SECURITY;
CREATE TABLE quorate.event_id AS
    SELECT i.event_id, i.chain_id, i.seq, quorate.name_key(e.subject_key) AS subject
    FROM quorate.audit_event_id i JOIN quorate.audit_entry e USING (chain_id, seq) ORDER BY i.chain_id, i.seq;
CREATE TABLE quorate.about AS
    SELECT quorate.name_key(a.digest) AS key, a.chain_id, a.seq
    FROM quorate.audit_about a JOIN quorate.audit_entry e USING (chain_id, seq) WHERE a.digest <> e.subject_key;
DROP TABLE quorate.audit_event_id, quorate.audit_about, quorate.audit_subject;
ALTER TABLE quorate.audit_entry DROP COLUMN entry_id, DROP COLUMN subject_key, DROP COLUMN leaf, DROP COLUMN chain_hash;
ALTER TABLE quorate.audit_entry FORCE ROW LEVEL SECURITY;

-- The authority on "recorded once"; stays when partitions are pruned. `subject` finds a subject's entries, the last one
-- first. An entry's place finds its id through a block range index: ids stand in the order in which they were sealed.
ALTER TABLE quorate.event_id RENAME TO audit_event_id;
ALTER TABLE quorate.audit_event_id
    ADD PRIMARY KEY (event_id),
    ALTER chain_id TYPE text COLLATE "C", ALTER chain_id SET NOT NULL, ALTER seq SET NOT NULL,
    ALTER subject SET NOT NULL;
CREATE INDEX audit_event_id_subject ON quorate.audit_event_id (subject, chain_id, seq);
CREATE INDEX audit_event_id_place ON quorate.audit_event_id USING brin (seq) WITH (pages_per_range = 16, autosummarize);
SELECT quorate.protect('quorate.audit_event_id');

-- The names that entries are about besides their subject.
ALTER TABLE quorate.about RENAME TO audit_about;
ALTER TABLE quorate.audit_about
    ALTER chain_id TYPE text COLLATE "C", ADD PRIMARY KEY (key, chain_id, seq);
SELECT quorate.protect('quorate.audit_about');
GRANT SELECT ON quorate.audit_event_id, quorate.audit_about TO quorate_app, quorate_sealer, quorate_read, quorate_maint;

-- Only the function below writes the log; it runs as the owner, whom forced row security would refuse.
REVOKE INSERT ON quorate.audit_entry, quorate.merkle_tile FROM quorate_sealer;
REVOKE UPDATE ON quorate.chain_head, quorate.leader_term FROM quorate_sealer;
CREATE OR REPLACE FUNCTION quorate.guard_rows(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY reading ON %s FOR SELECT TO quorate_app, quorate_sealer, quorate_read, quorate_maint '
                   'USING (true)', target);
    EXECUTE format('CREATE POLICY sealing ON %s FOR INSERT TO quorate_owner WITH CHECK (true)', target);
END $$;
DO $$
DECLARE
    target regclass;
BEGIN
    FOR target IN SELECT polrelid FROM pg_policy WHERE polname = 'sealing' LOOP
        EXECUTE format('ALTER POLICY sealing ON %s TO quorate_owner', target);
    END LOOP;
END $$;

-- The number of the quarantine that is open; sealing is refused while there is one (audit.md, 9).
ALTER TABLE quorate.chain_head ADD COLUMN quarantine bigint;
CREATE OR REPLACE FUNCTION quorate.head_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION '% on quorate.chain_head is refused: a chain has its head for ever', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.chain_id <> OLD.chain_id OR NEW.size < OLD.size OR NEW.term < OLD.term OR NEW.epoch < OLD.epoch
       OR NEW.sealed_at < OLD.sealed_at OR NEW.size = OLD.size AND (NEW.epoch, NEW.chain_hash, NEW.frontier,
       NEW.sealed_at, NEW.term) IS DISTINCT FROM (OLD.epoch, OLD.chain_hash, OLD.frontier, OLD.sealed_at, OLD.term) THEN
        RAISE EXCEPTION 'the head of chain % may only grow', OLD.chain_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

-- Terms are fenced by a lock on the table, not on its row: whoever writes shares it and writes no tuple for it, whoever
-- takes a term waits for those who write.
CREATE FUNCTION quorate.take_term(new_holder text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken bigint;
BEGIN
    LOCK TABLE quorate.leader_term IN EXCLUSIVE MODE;
    UPDATE quorate.leader_term SET term = term + 1, holder = new_holder, taken_at = clock_timestamp()
    RETURNING term INTO taken;
    RETURN taken;
END $$;

-- The term, which stays until the transaction ends.
CREATE FUNCTION quorate.held_term() RETURNS TABLE (term bigint, holder text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE quorate.leader_term IN ROW SHARE MODE;
    RETURN QUERY SELECT t.term, t.holder FROM quorate.leader_term t;
END $$;

-- How far each source of captured entries came (audit.md, 5).
CREATE TABLE quorate.captured_source (
    source text COLLATE "C" PRIMARY KEY CHECK (octet_length(source) BETWEEN 1 AND 512),
    seq bigint NOT NULL CHECK (seq >= 0)
) WITH (fillfactor = 80);
CREATE FUNCTION quorate.source_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR NEW.source <> OLD.source OR NEW.seq <= OLD.seq THEN
        RAISE EXCEPTION 'a source of captured entries may only come further' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER source_grows BEFORE UPDATE OR DELETE ON quorate.captured_source
    FOR EACH ROW EXECUTE FUNCTION quorate.source_grows();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.captured_source
    FOR EACH STATEMENT EXECUTE FUNCTION quorate.source_grows();
ALTER TABLE quorate.captured_source ENABLE ALWAYS TRIGGER source_grows;
ALTER TABLE quorate.captured_source ENABLE ALWAYS TRIGGER no_truncate;
GRANT SELECT ON quorate.captured_source TO quorate_app, quorate_sealer, quorate_read, quorate_maint;

-- Seals a batch: `records` follow the head (of_epoch, start, old_chain) and lead to (new_chain, new_frontier, new_sealed).
-- `links` are the entries, of the subject beside each, that entries of the batch say they follow and that are not in it.
-- `resumes` is the quarantine that the batch ends; `of_epoch` is then the new epoch. All or nothing. The answer is the
-- time in µs that it took to hold term and head.
-- Refusals: QU001 a later term was taken, QU002 the head is another, QU003 quarantined, QU004 a link is missing,
-- 23505 an entry is recorded.
CREATE FUNCTION quorate.seal(
    chain text, my_term bigint, of_epoch integer, start bigint, old_chain bytea,
    new_chain bytea, new_frontier bytea, new_sealed bigint,
    records bytea[], ids uuid[], subjects uuid[], links uuid[], link_subjects uuid[], resumes bigint
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    begun CONSTANT timestamptz := clock_timestamp();
    finish CONSTANT bigint := start + cardinality(records);
    held timestamptz;
BEGIN
    LOCK TABLE quorate.leader_term IN ROW SHARE MODE;
    IF finish <= start OR cardinality(ids) <> finish - start OR cardinality(subjects) <> finish - start THEN
        RAISE EXCEPTION 'a batch holds one record, id and subject for each entry' USING ERRCODE = 'check_violation';
    END IF;
    IF start = 0 OR (finish - 1) / quorate.partition_width() <> (start - 1) / quorate.partition_width() THEN
        -- The next ones too: two ahead of the last entry (audit.md, 10).
        PERFORM quorate.make_partition(chain, (finish - 1) / quorate.partition_width() + n) FROM generate_series(0, 2) n;
    END IF;
    IF cardinality(links) > 0 THEN
        -- Before the ids are there, so that no entry follows one behind it.
        IF EXISTS (SELECT FROM unnest(links, link_subjects) AS u(event_id, subject) WHERE NOT EXISTS (
            SELECT FROM quorate.audit_event_id i WHERE i.event_id = u.event_id AND i.subject = u.subject)
        ) THEN
            RAISE EXCEPTION 'an entry follows one that is not recorded' USING ERRCODE = 'QU004';
        END IF;
    END IF;
    IF resumes IS NOT NULL THEN
        UPDATE quorate.chain_head h SET quarantine = NULL WHERE h.chain_id = chain AND h.quarantine = resumes;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'chain % is not in quarantine %', chain, resumes USING ERRCODE = 'QU003';
        END IF;
    END IF;
    -- One statement: each costs a lone entry as much as its rows do.
    WITH moved AS (
        UPDATE quorate.chain_head h
        SET epoch = of_epoch, size = finish, chain_hash = new_chain, frontier = new_frontier, sealed_at = new_sealed,
            term = my_term
        FROM quorate.leader_term t
        WHERE h.chain_id = chain AND h.size = start AND h.chain_hash = old_chain AND h.quarantine IS NULL
            AND h.epoch = of_epoch - num_nonnulls(resumes) AND t.term = my_term AND my_term > 0
        RETURNING clock_timestamp() AS at
    ), named AS (
        INSERT INTO quorate.audit_event_id (event_id, chain_id, seq, subject)
        SELECT u.id, chain, start + u.place - 1, u.subject
        FROM moved, unnest(ids, subjects) WITH ORDINALITY u(id, subject, place)
    ), written AS (
        INSERT INTO quorate.audit_entry (chain_id, seq, record)
        SELECT chain, start + u.place - 1, u.record FROM moved, unnest(records) WITH ORDINALITY u(record, place)
    ) SELECT at INTO held FROM moved;
    IF NOT FOUND THEN
        PERFORM quorate.refuse_seal(chain, my_term, start);
    END IF;
    RETURN (extract(epoch FROM held - begun) * 1000000)::bigint;
END $$;

-- Says why a batch does not follow the head.
CREATE FUNCTION quorate.refuse_seal(chain text, my_term bigint, start bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    SELECT t.term, t.holder INTO held FROM quorate.leader_term t;
    IF held.term <> my_term OR my_term = 0 THEN
        RAISE EXCEPTION 'term % was taken since, by %', held.term, held.holder USING ERRCODE = 'QU001';
    END IF;
    SELECT h.size, h.quarantine INTO held FROM quorate.chain_head h WHERE h.chain_id = chain;
    IF held.quarantine IS NOT NULL THEN
        RAISE EXCEPTION 'chain % is in quarantine %', chain, held.quarantine USING ERRCODE = 'QU003';
    END IF;
    RAISE EXCEPTION 'chain % has size %, not %, or another hash', chain, held.size, start USING ERRCODE = 'QU002';
END $$;

-- `seal`, and what comes with its entries: what they are about, tiles that they fill, content. `taken` are rows of the
-- intake that the batch seals. Captured entries of each of `sources` come with its sequences from first to last.
-- Further refusals: QU005 a taken row is gone, QU006 a source was further already.
CREATE FUNCTION quorate.seal_beside(
    chain text, my_term bigint, of_epoch integer, start bigint, old_chain bytea,
    new_chain bytea, new_frontier bytea, new_sealed bigint,
    records bytea[], ids uuid[], subjects uuid[], links uuid[], link_subjects uuid[], resumes bigint,
    about uuid[], about_seqs bigint[],
    tile_levels bigint[], tile_numbers bigint[], tile_hashes bytea[], tile_roots bytea[],
    digests text[], contents bytea[], taken bigint[], sources text[], firsts bigint[], lasts bigint[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    waited bigint;
    gone bigint;
BEGIN
    waited := quorate.seal(chain, my_term, of_epoch, start, old_chain, new_chain, new_frontier, new_sealed,
                           records, ids, subjects, links, link_subjects, resumes);
    IF cardinality(about) > 0 THEN
        INSERT INTO quorate.audit_about (key, chain_id, seq)
        SELECT u.key, chain, u.seq FROM unnest(about, about_seqs) u(key, seq);
    END IF;
    IF cardinality(tile_levels) > 0 THEN
        INSERT INTO quorate.merkle_tile (chain_id, level, number, hashes, root)
        SELECT chain, u.* FROM unnest(tile_levels, tile_numbers, tile_hashes, tile_roots) u;
    END IF;
    IF cardinality(digests) > 0 THEN
        PERFORM quorate.put_content(digests, contents);
    END IF;
    IF cardinality(sources) > 0 THEN
        PERFORM FROM quorate.captured_source c WHERE c.source = ANY(sources) ORDER BY c.source FOR UPDATE;
        IF EXISTS (SELECT FROM unnest(sources, firsts) u(source, first) JOIN quorate.captured_source c USING (source)
                   WHERE c.seq >= u.first) THEN
            RAISE EXCEPTION 'a source of captured entries was further already' USING ERRCODE = 'QU006';
        END IF;
        INSERT INTO quorate.captured_source AS c (source, seq) SELECT * FROM unnest(sources, lasts)
        ON CONFLICT (source) DO UPDATE SET seq = excluded.seq;
    END IF;
    IF cardinality(taken) > 0 THEN
        DELETE FROM quorate.audit_intake WHERE pos = ANY(taken);
        GET DIAGNOSTICS gone = ROW_COUNT;
        IF gone <> cardinality(taken) THEN
            RAISE EXCEPTION 'a row that was taken in is gone' USING ERRCODE = 'QU005';
        END IF;
    END IF;
    RETURN waited;
END $$;

REVOKE ALL ON FUNCTION quorate.take_term(text), quorate.held_term() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quorate.take_term(text), quorate.held_term() TO quorate_sealer;
DO $$
DECLARE
    made regprocedure;
BEGIN
    FOR made IN SELECT oid FROM pg_proc WHERE pronamespace = 'quorate'::regnamespace AND proname ~ '^(seal|refuse_seal)'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
        IF made::text !~ 'refuse' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO quorate_sealer', made);
        END IF;
    END LOOP;
END $$;
RESET ROLE;
