-- The guard against DDL: installed by `migrate` where the server lets this user make event triggers (audit.md, 6).
--
-- In a schema of its own, which the log's owner does not own: an event trigger's function runs with the rights of whoever
-- does DDL, a superuser's for example, so nobody less may replace it. It refuses every change of the log's objects by
-- those who may act as their owner; our own SECURITY DEFINER functions are called by logins that may not, so it is
-- enough to look at the session's user. It cannot refuse a superuser, who could drop it: what they do is written down.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'quorate_guard' AND nspowner <> current_user::regrole) THEN
        RAISE EXCEPTION 'schema quorate_guard belongs to somebody else' USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;
CREATE SCHEMA IF NOT EXISTS quorate_guard;
GRANT USAGE ON SCHEMA quorate_guard TO quorate_app, quorate_sealer, quorate_maint, quorate_read;

CREATE TABLE IF NOT EXISTS quorate_guard.ddl (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    login text NOT NULL,
    command text NOT NULL,
    object text NOT NULL
);
GRANT SELECT ON quorate_guard.ddl TO quorate_app, quorate_sealer, quorate_maint, quorate_read;

CREATE OR REPLACE FUNCTION quorate_guard.judge(command text, object text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) OR session_user = current_user THEN
        INSERT INTO quorate_guard.ddl (login, command, object) VALUES (session_user, command, left(object, 300));
    -- The setting too: somebody may have lost the membership while acting as the owner.
    ELSIF pg_has_role(session_user, 'quorate_owner', 'MEMBER') OR current_setting('role') <> 'none'
          AND pg_has_role(current_setting('role'), 'quorate_owner', 'MEMBER') THEN
        RAISE EXCEPTION '% of % is refused: only its migrations, by a superuser, change the log''s schema',
            command, object USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;
REVOKE ALL ON FUNCTION quorate_guard.judge(text, text) FROM PUBLIC;

-- GRANT and ALTER DEFAULT PRIVILEGES do not say of which object: rows of the catalogue that this transaction wrote do.
CREATE OR REPLACE FUNCTION quorate_guard.written() RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH own AS (
        SELECT oid::regclass::text AS name, xmin FROM pg_class WHERE relowner = 'quorate_owner'::regrole
        UNION ALL SELECT oid::regprocedure::text, xmin FROM pg_proc WHERE proowner = 'quorate_owner'::regrole
        UNION ALL SELECT nspname, xmin FROM pg_namespace WHERE nspowner = 'quorate_owner'::regrole
        UNION ALL SELECT 'default rights', xmin FROM pg_default_acl WHERE defaclrole = 'quorate_owner'::regrole
    )
    SELECT string_agg(name, ', ' ORDER BY name) FROM own
    WHERE xmin::text::bigint >= pg_current_xact_id()::text::numeric % 4294967296
$$;
REVOKE ALL ON FUNCTION quorate_guard.written() FROM PUBLIC;

CREATE OR REPLACE FUNCTION quorate_guard.is_ours(class oid, object oid, schema text, identity text) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT schema = 'quorate' OR identity LIKE '% on quorate.%'
        OR class = 'pg_namespace'::regclass AND identity = 'quorate'
        OR class = 'pg_class'::regclass
           AND EXISTS (SELECT FROM pg_class WHERE oid = object AND relowner = 'quorate_owner'::regrole)
        OR class = 'pg_proc'::regclass
           AND EXISTS (SELECT FROM pg_proc WHERE oid = object AND proowner = 'quorate_owner'::regrole)
$$;
REVOKE ALL ON FUNCTION quorate_guard.is_ours(oid, oid, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION quorate_guard.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done record;
    names text;
BEGIN
    FOR done IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF done.objid IS NULL THEN
            names := quorate_guard.written();
        ELSIF quorate_guard.is_ours(done.classid, done.objid, done.schema_name, done.object_identity) THEN
            names := done.object_identity;
        ELSE
            names := NULL;
        END IF;
        IF names IS NOT NULL THEN
            PERFORM quorate_guard.judge(done.command_tag, names);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION quorate_guard.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped record;
BEGIN
    FOR dropped IN SELECT * FROM pg_event_trigger_dropped_objects() d WHERE (d.original OR d.normal)
                   AND quorate_guard.is_ours(d.classid, 0, d.schema_name, d.object_identity) LOOP
        PERFORM quorate_guard.judge(tg_tag, dropped.object_identity);
    END LOOP;
END $$;

DROP EVENT TRIGGER IF EXISTS quorate_guard_ddl;
DROP EVENT TRIGGER IF EXISTS quorate_guard_drop;
CREATE EVENT TRIGGER quorate_guard_ddl ON ddl_command_end EXECUTE FUNCTION quorate_guard.on_ddl();
CREATE EVENT TRIGGER quorate_guard_drop ON sql_drop EXECUTE FUNCTION quorate_guard.on_drop();
ALTER EVENT TRIGGER quorate_guard_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER quorate_guard_drop ENABLE ALWAYS;
