-- Full Merkle tiles (256 hashes, written once) and signed checkpoints (audit.md 7, reference 5.5).
SET LOCAL ROLE quorate_owner;
CREATE TABLE quorate.merkle_tile (
    chain_id text COLLATE "C" NOT NULL,
    level smallint NOT NULL CHECK (level >= 0),
    number bigint NOT NULL CHECK (number >= 0),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (chain_id, level, number)
);
SELECT quorate.protect('quorate.merkle_tile');
CREATE TABLE quorate.checkpoint (
    chain_id text COLLATE "C" NOT NULL,
    size bigint NOT NULL CHECK (size > 0),
    signer text NOT NULL,
    note text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, size, signer)
);
SELECT quorate.protect('quorate.checkpoint');
GRANT SELECT ON quorate.merkle_tile, quorate.checkpoint TO quorate_app, quorate_sealer, quorate_read, quorate_maint;
GRANT INSERT ON quorate.merkle_tile, quorate.checkpoint TO quorate_sealer;
RESET ROLE;
