-- Intake as it is used: the time is the client's and under the MAC; what may not be sealed is set aside, never lost.
SET LOCAL ROLE quorate_owner;
ALTER TABLE quorate.audit_intake
    DROP COLUMN refused,
    DROP COLUMN intake_at,
    ADD COLUMN intake_at bigint NOT NULL,
    ADD CHECK (octet_length(chain_id) BETWEEN 1 AND 512),
    ADD CHECK (octet_length(content) <= 65535),
    -- A queue: without this its dead rows pile up where every look at the oldest row begins.
    SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX audit_intake_oldest ON quorate.audit_intake (chain_id, pos);
-- Not `pos`: whoever chose it could stand before the queue for ever, where nobody looks.
REVOKE INSERT ON quorate.audit_intake FROM quorate_app;
GRANT INSERT (chain_id, entry_id, content, intake_at, hmac) ON quorate.audit_intake TO quorate_app;
-- SELECT … FOR UPDATE asks for the right to update some column; the trigger below lets nobody do it.
GRANT UPDATE (pos) ON quorate.audit_intake TO quorate_sealer;

CREATE TRIGGER unchanged BEFORE UPDATE ON quorate.audit_intake
    FOR EACH ROW EXECUTE FUNCTION quorate.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON quorate.audit_intake
    FOR EACH STATEMENT EXECUTE FUNCTION quorate.refuse_change();
ALTER TABLE quorate.audit_intake ENABLE ALWAYS TRIGGER unchanged;
ALTER TABLE quorate.audit_intake ENABLE ALWAYS TRIGGER no_truncate;

-- AFTER: an insert that waited for the sealer's DELETE of the same id goes on once that is committed, and must see it.
CREATE FUNCTION quorate.intake_is_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM quorate.audit_event_id WHERE event_id = NEW.entry_id) THEN
        RAISE EXCEPTION 'entry % is recorded already', NEW.entry_id USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER is_new AFTER INSERT ON quorate.audit_intake FOR EACH ROW EXECUTE FUNCTION quorate.intake_is_new();

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
