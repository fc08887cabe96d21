-- Guards against the administrators of the database: event trigger, catalogue fingerprint (audit.md, 6). The event trigger
-- is in guard.sql, as only some users may make one; a fingerprint that differs is acknowledged here.
SET LOCAL ROLE quorate_owner;
CREATE TABLE quorate.catalogue_acknowledgement (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest text COLLATE "C" NOT NULL CHECK (digest ~ '^sha256:[0-9a-f]{64}$'),
    login text NOT NULL,
    reason text NOT NULL CHECK (octet_length(reason) BETWEEN 1 AND 1000),
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT quorate.protect('quorate.catalogue_acknowledgement');
GRANT SELECT ON quorate.catalogue_acknowledgement TO quorate_app, quorate_sealer, quorate_read, quorate_maint;

CREATE FUNCTION quorate.acknowledge_catalogue(of_digest text, why text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO quorate.catalogue_acknowledgement (digest, login, reason) VALUES (of_digest, session_user, why)
$$;
REVOKE ALL ON FUNCTION quorate.acknowledge_catalogue(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION quorate.acknowledge_catalogue(text, text) TO quorate_maint;
RESET ROLE;
