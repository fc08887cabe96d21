-- Intake as it is used: the time is the client's and under the MAC; what may not be sealed is set aside, never lost.
SET LOCAL ROLE quorate_owner;
ALTER TABLE quorate.audit_intake
    DROP COLUMN refused,
    DROP COLUMN intake_at,
    ADD COLUMN intake_at bigint NOT NULL,
    -- A queue: without this its dead rows pile up where every look at the oldest row begins.
    SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX audit_intake_oldest ON quorate.audit_intake (chain_id, pos);
-- SELECT … FOR UPDATE asks for the right to update some column; the trigger below lets nobody do it.
GRANT UPDATE (pos) ON quorate.audit_intake TO quorate_sealer;

CREATE TRIGGER unchanged BEFORE UPDATE ON quorate.audit_intake
    FOR EACH ROW EXECUTE FUNCTION quorate.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.audit_intake
    FOR EACH STATEMENT EXECUTE FUNCTION quorate.refuse_change();
ALTER TABLE quorate.audit_intake ENABLE ALWAYS TRIGGER unchanged;
ALTER TABLE quorate.audit_intake ENABLE ALWAYS TRIGGER no_truncate;

-- The only way in (the chain's id in UTF-8); nobody chooses `pos`, who could stand before the queue for ever, where nobody looks. The rules are here
-- and not constraints or a trigger of the table: Postgres reads a CHECK's expression anew for each statement, and a row's
-- trigger costs as much again. The look for the id comes last: an insert that waited for the sealer's DELETE of the same
-- id goes on once that is committed, and must see it.
CREATE PROCEDURE quorate.take_in(chain bytea, entry uuid, bytes bytea, taken_at bigint, mac bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF octet_length(chain) NOT BETWEEN 1 AND 512 OR octet_length(bytes) > 65535 OR octet_length(mac) <> 32 THEN
        RAISE EXCEPTION 'entry %: a chain id has 1 to 512 bytes, content at most 65535, a MAC 32', entry
            USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO quorate.audit_intake (chain_id, entry_id, content, intake_at, hmac)
    VALUES (convert_from(chain, 'UTF8'), entry, bytes, taken_at, mac);
    IF EXISTS (SELECT FROM quorate.audit_event_id WHERE event_id = entry) THEN
        RAISE EXCEPTION 'entry % is recorded already', entry
            USING ERRCODE = 'unique_violation', SCHEMA = 'quorate', TABLE = 'audit_intake';
    END IF;
END $$;
REVOKE ALL ON PROCEDURE quorate.take_in(bytea, uuid, bytea, bigint, bytea) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE quorate.take_in(bytea, uuid, bytea, bigint, bytea) TO quorate_app;

CREATE TABLE quorate.audit_intake_refused (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id text COLLATE "C" NOT NULL,
    pos bigint NOT NULL,
    entry_id uuid NOT NULL,
    content bytea NOT NULL,
    intake_at bigint NOT NULL,
    hmac bytea NOT NULL,
    reason text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT quorate.protect('quorate.audit_intake_refused');
GRANT SELECT ON quorate.audit_intake_refused TO quorate_app, quorate_sealer, quorate_read, quorate_maint;
GRANT INSERT ON quorate.audit_intake_refused TO quorate_sealer;
RESET ROLE;
