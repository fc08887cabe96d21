-- Cosignatures of witnesses (audit.md, 7): a line of a note, as the witness wrote it. The first of each key stays.
SET LOCAL ROLE quorate_owner;
CREATE TABLE quorate.cosignature (
    number bigint GENERATED ALWAYS AS IDENTITY,
    chain_id text COLLATE "C" NOT NULL,
    size bigint NOT NULL CHECK (size > 0),
    name text COLLATE "C" NOT NULL,
    key_id bytea NOT NULL CHECK (octet_length(key_id) = 4),
    line text NOT NULL CHECK (octet_length(line) <= 1024 AND line ~ '^— [^[:space:]+]+ [A-Za-z0-9+/]+=*\n$'),
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, size, name, key_id)
);
SELECT quorate.protect('quorate.cosignature');
GRANT SELECT ON quorate.cosignature TO quorate_app, quorate_sealer, quorate_read, quorate_maint;
GRANT INSERT ON quorate.cosignature TO quorate_sealer;
RESET ROLE;
