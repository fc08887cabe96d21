-- Coupled append: a queue filled in the transaction of the change, emptied by the sealer (audit.md 1).
SET LOCAL ROLE quorate_owner;
CREATE TABLE quorate.audit_intake (
    pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id text COLLATE "C" NOT NULL,
    entry_id uuid NOT NULL UNIQUE,
    content bytea NOT NULL,
    intake_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    hmac bytea NOT NULL,
    refused text
);
CREATE INDEX audit_intake_waiting ON quorate.audit_intake (chain_id, pos) WHERE refused IS NULL;
GRANT SELECT, UPDATE (refused), DELETE ON quorate.audit_intake TO quorate_sealer;
GRANT SELECT ON quorate.audit_intake TO quorate_app, quorate_read, quorate_maint;
RESET ROLE;
