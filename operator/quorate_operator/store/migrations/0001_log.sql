-- The log: entries, chain heads, ids, terms, content (audit.md 2-6, 11).
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['quorate_owner', 'quorate_app', 'quorate_sealer', 'quorate_maint', 'quorate_read'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
    -- Since Postgres 16 who creates a role administers it without being able to act as it: only trying tells.
    BEGIN
        SET LOCAL ROLE quorate_owner;
        RESET ROLE;
    EXCEPTION WHEN insufficient_privilege THEN
        EXECUTE format('GRANT quorate_owner TO %I', current_user);
    END;
END $$;

ALTER SCHEMA quorate OWNER TO quorate_owner;
ALTER TABLE quorate.migration OWNER TO quorate_owner;
GRANT USAGE ON SCHEMA quorate TO quorate_app, quorate_sealer, quorate_maint, quorate_read;
GRANT SELECT ON quorate.migration TO quorate_app, quorate_sealer, quorate_maint, quorate_read;
SET LOCAL ROLE quorate_owner;

CREATE FUNCTION quorate.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on quorate.% is refused: the log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Row triggers do not fire on TRUNCATE, and session_replication_role switches plain triggers off: hence both, ALWAYS.
CREATE FUNCTION quorate.protect(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'append_only') THEN
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW '
                       'EXECUTE FUNCTION quorate.refuse_change()', target);
    END IF;
    EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT '
                   'EXECUTE FUNCTION quorate.refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER no_truncate', target);
END $$;
REVOKE ALL ON FUNCTION quorate.protect(regclass) FROM PUBLIC;

-- Policies of a partitioned table do not apply when a partition is named directly: each gets its own.
CREATE FUNCTION quorate.guard_rows(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY reading ON %s FOR SELECT TO quorate_app, quorate_sealer, quorate_read, quorate_maint '
                   'USING (true)', target);
    EXECUTE format('CREATE POLICY sealing ON %s FOR INSERT TO quorate_sealer WITH CHECK (true)', target);
END $$;
REVOKE ALL ON FUNCTION quorate.guard_rows(regclass) FROM PUBLIC;

CREATE TABLE quorate.leader_term (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    term bigint NOT NULL,
    holder text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO quorate.leader_term (term, holder) VALUES (0, '');
CREATE FUNCTION quorate.term_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.term <= OLD.term THEN
        RAISE EXCEPTION 'term % does not follow term %', NEW.term, OLD.term USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER term_grows BEFORE UPDATE ON quorate.leader_term FOR EACH ROW EXECUTE FUNCTION quorate.term_grows();
ALTER TABLE quorate.leader_term ENABLE ALWAYS TRIGGER term_grows;

-- Few checks: Postgres reads each anew for every statement. `make_partition` checks the name, the trigger that it grows.
CREATE TABLE quorate.chain_head (
    chain_id text COLLATE "C" PRIMARY KEY,
    epoch integer NOT NULL,
    size bigint NOT NULL,
    chain_hash bytea NOT NULL,
    frontier bytea NOT NULL,
    sealed_at bigint NOT NULL,
    term bigint NOT NULL,
    CHECK (octet_length(chain_hash) = 32 AND octet_length(frontier) = 32 * bit_count(int8send(size)))
) WITH (fillfactor = 50);
CREATE FUNCTION quorate.head_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION '% on quorate.chain_head is refused: a chain has its head for ever', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.chain_id <> OLD.chain_id OR NEW.size <= OLD.size OR NEW.term < OLD.term OR NEW.epoch < OLD.epoch
       OR NEW.sealed_at < OLD.sealed_at THEN
        RAISE EXCEPTION 'the head of chain % may only grow', OLD.chain_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER head_grows BEFORE UPDATE OR DELETE ON quorate.chain_head
    FOR EACH ROW EXECUTE FUNCTION quorate.head_grows();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.chain_head
    FOR EACH STATEMENT EXECUTE FUNCTION quorate.head_grows();
ALTER TABLE quorate.chain_head ENABLE ALWAYS TRIGGER head_grows;
ALTER TABLE quorate.chain_head ENABLE ALWAYS TRIGGER no_truncate;

CREATE TABLE quorate.audit_entry (
    chain_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    entry_id uuid NOT NULL,
    subject_key text COLLATE "C" NOT NULL,
    record bytea NOT NULL CHECK (octet_length(record) <= 65535),
    leaf bytea NOT NULL CHECK (octet_length(leaf) = 32),
    chain_hash bytea NOT NULL CHECK (octet_length(chain_hash) = 32),
    PRIMARY KEY (chain_id, seq)
) PARTITION BY RANGE (chain_id, seq);
SELECT quorate.protect('quorate.audit_entry');
SELECT quorate.guard_rows('quorate.audit_entry');

-- The authority on "recorded once"; stays when partitions are pruned.
CREATE TABLE quorate.audit_event_id (
    event_id uuid PRIMARY KEY,
    chain_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    UNIQUE (chain_id, seq)
);
SELECT quorate.protect('quorate.audit_event_id');

-- Indexes derived from the records: each subject's last entry, and the digests that entries are about.
CREATE TABLE quorate.audit_subject (
    subject_key text COLLATE "C" PRIMARY KEY,
    entry_id uuid NOT NULL,
    chain_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE quorate.audit_about (
    digest text COLLATE "C" NOT NULL,
    chain_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (digest, chain_id, seq)
);
SELECT quorate.protect('quorate.audit_about');

CREATE TABLE quorate.content (
    digest text COLLATE "C" PRIMARY KEY,
    bytes bytea NOT NULL,
    CHECK (digest = 'sha256:' || encode(sha256(bytes), 'hex'))
);
SELECT quorate.protect('quorate.content');

-- Attached, not created as a partition: that would wait for every reader of the log, a verification for example.
CREATE FUNCTION quorate.make_partition(chain text, number bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT bigint := 1048576;
    name text := 'audit_entry_' || md5(chain) || '_' || number;
BEGIN
    IF number < 0 OR octet_length(chain) NOT BETWEEN 1 AND 512 THEN
        RAISE EXCEPTION 'no partition % of chain %', number, chain USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('quorate.dev/partition', 0));
    IF to_regclass('quorate.' || quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE quorate.%I (LIKE quorate.audit_entry INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE quorate.audit_entry ATTACH PARTITION quorate.%I FOR VALUES FROM (%L, %s) TO (%L, %s)',
                   name, chain, number * width, chain, (number + 1) * width);
    PERFORM quorate.protect(format('quorate.%I', name)::regclass);
    PERFORM quorate.guard_rows(format('quorate.%I', name)::regclass);
    RETURN true;
END $$;

CREATE FUNCTION quorate.make_chain(chain text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM quorate.make_partition(chain, 0);
    PERFORM quorate.make_partition(chain, 1);
    INSERT INTO quorate.chain_head (chain_id, epoch, size, chain_hash, frontier, sealed_at, term)
    VALUES (chain, 0, 0, decode(repeat('00', 32), 'hex'), '', 0, 0) ON CONFLICT DO NOTHING;
END $$;

REVOKE ALL ON FUNCTION quorate.make_partition(text, bigint), quorate.make_chain(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quorate.make_partition(text, bigint) TO quorate_sealer, quorate_maint;
GRANT EXECUTE ON FUNCTION quorate.make_chain(text) TO quorate_sealer;

GRANT SELECT ON quorate.leader_term, quorate.chain_head, quorate.audit_entry, quorate.audit_event_id,
    quorate.audit_subject, quorate.audit_about, quorate.content
    TO quorate_app, quorate_sealer, quorate_read, quorate_maint;
GRANT INSERT ON quorate.content TO quorate_app, quorate_sealer;
GRANT INSERT ON quorate.audit_entry, quorate.audit_event_id, quorate.audit_about TO quorate_sealer;
GRANT INSERT, UPDATE ON quorate.audit_subject TO quorate_sealer;
GRANT UPDATE ON quorate.chain_head, quorate.leader_term TO quorate_sealer;
RESET ROLE;
