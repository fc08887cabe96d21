-- Quarantine of a chain, and its resumption in a new epoch (audit.md, 9).
SET LOCAL ROLE quorate_owner;
CREATE TABLE quorate.quarantine (
    chain_id text COLLATE "C" NOT NULL CHECK (octet_length(chain_id) BETWEEN 1 AND 512),
    number bigint NOT NULL CHECK (number > 0),
    cause text NOT NULL,
    message text NOT NULL,
    evidence text NOT NULL CHECK (octet_length(evidence) <= 1048576),
    epoch integer NOT NULL,
    size bigint NOT NULL,
    chain_hash bytea NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, number)
);
SELECT quorate.protect('quorate.quarantine');

-- The resumption's entry is the one at `seq`; what it cites is read from there.
CREATE TABLE quorate.resumption (
    chain_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    seq bigint NOT NULL,
    resumed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, number),
    FOREIGN KEY (chain_id, number) REFERENCES quorate.quarantine
);
SELECT quorate.protect('quorate.resumption');

-- Whatever ends a quarantine leaves its row: `seal` ends one, and so would somebody who changes the head by hand.
CREATE FUNCTION quorate.quarantine_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO quorate.resumption (chain_id, number, seq) VALUES (OLD.chain_id, OLD.quarantine, OLD.size);
    RETURN NULL;
END $$;
CREATE TRIGGER quarantine_ended AFTER UPDATE OF quarantine ON quorate.chain_head FOR EACH ROW
    WHEN (OLD.quarantine IS NOT NULL AND NEW.quarantine IS DISTINCT FROM OLD.quarantine)
    EXECUTE FUNCTION quorate.quarantine_ended();
ALTER TABLE quorate.chain_head ENABLE ALWAYS TRIGGER quarantine_ended;

-- Needs no term: to stop is always safe. NULL: the chain is stopped already.
CREATE FUNCTION quorate.stop_chain(chain text, why text, what text, proof text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head quorate.chain_head;
    next bigint;
BEGIN
    SELECT * INTO head FROM quorate.chain_head h WHERE h.chain_id = chain FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM quorate.make_chain(chain);
        SELECT * INTO STRICT head FROM quorate.chain_head h WHERE h.chain_id = chain FOR UPDATE;
    END IF;
    IF head.quarantine IS NOT NULL THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(max(q.number), 0) + 1 INTO next FROM quorate.quarantine q WHERE q.chain_id = chain;
    INSERT INTO quorate.quarantine (chain_id, number, cause, message, evidence, epoch, size, chain_hash)
    VALUES (chain, next, why, what, proof, head.epoch, head.size, head.chain_hash);
    UPDATE quorate.chain_head h SET quarantine = next WHERE h.chain_id = chain;
    RETURN (next);
END $$;

REVOKE ALL ON FUNCTION quorate.stop_chain(text, text, text, text), quorate.quarantine_ended() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quorate.stop_chain(text, text, text, text) TO quorate_sealer, quorate_maint;
GRANT SELECT ON quorate.quarantine, quorate.resumption TO quorate_app, quorate_sealer, quorate_read, quorate_maint;
RESET ROLE;
