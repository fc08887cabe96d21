-- Everything that the catalogue says about the log, as (kind, name, partition or '', properties); for any user.
-- A range of a chain is pruned once the entry that announces it is in the log, and its partition was detached since.
WITH gone AS MATERIALIZED (
    SELECT p.chain_id, p.end_seq, 'audit_entry_' || md5(p.chain_id) || '_' || p.number AS name
    FROM quorate.prune p JOIN quorate.audit_event_id i ON i.event_id = p.intent AND i.chain_id = 'system'
    LEFT JOIN quorate.audit_entry e ON e.chain_id = i.chain_id AND e.seq = i.seq
    WHERE p.state <> 'exporting'
    AND (e.record IS NULL OR position('"event_type":"system.partition.pruning"'::bytea IN e.record) > 0)
-- Relations; `part` is the name of a partition of the log. One that was detached to be dropped is left out.
), rel AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relkind, c.relfilenode, c.relrowsecurity, c.relforcerowsecurity, c.relacl,
           c.relowner, c.relpersistence, c.reloptions, c.relpartbound, n.nspname || '.' || c.relname AS name,
           CASE WHEN i.inhparent = to_regclass('quorate.audit_entry') THEN c.relname::text ELSE '' END AS part
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE n.nspname IN ('quorate', 'quorate_guard') AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    AND (i.inhparent IS NOT NULL OR c.relname NOT IN (SELECT name FROM gone))
), ours AS MATERIALIZED (
    SELECT oid, rolname FROM pg_roles
    WHERE rolname IN ('quorate_owner', 'quorate_app', 'quorate_sealer', 'quorate_maint', 'quorate_read')
)
SELECT 'relation', r.name, r.part, jsonb_build_object(
    'kind', r.relkind, 'owner', r.relowner::regrole::text,
    'rights', coalesce((SELECT jsonb_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(r.relacl) a), 'null'),
    'rowSecurity', r.relrowsecurity, 'forced', r.relforcerowsecurity, 'persistence', r.relpersistence,
    'options', coalesce(to_jsonb(r.reloptions), 'null'),
    'columns', coalesce((
        SELECT jsonb_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN 'not null' END, nullif('identity ' || a.attidentity::text, 'identity '),
            nullif('generated ' || a.attgenerated::text, 'generated '), 'default ' || pg_get_expr(d.adbin, d.adrelid),
            'collate ' || nullif(a.attcollation, 0)::regcollation, 'rights ' || a.attacl::text) ORDER BY a.attnum)
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND r.relkind <> 'S'), '[]'),
    -- Without xmin: a GRANT of what one does not hold writes the row again, and so does the first partition.
    'version', concat_ws('/', r.oid, r.relfilenode))
FROM rel r
UNION ALL
SELECT 'partition', r.part, r.part, jsonb_build_object('bounds', pg_get_expr(r.relpartbound, r.oid))
FROM rel r WHERE r.part <> ''
UNION ALL
SELECT 'constraint', c.conname || ' on ' || r.name, r.part,
    jsonb_build_object('definition', pg_get_constraintdef(c.oid), 'checked', c.convalidated)
FROM pg_constraint c JOIN rel r ON r.oid = c.conrelid WHERE c.contype <> 'n'
UNION ALL
SELECT 'index', i.indexrelid::regclass::text, r.part,
    jsonb_build_object('definition', pg_get_indexdef(i.indexrelid), 'valid', i.indisvalid)
FROM pg_index i JOIN rel r ON r.oid = i.indrelid
UNION ALL
SELECT 'trigger', t.tgname || ' on ' || r.name, r.part, jsonb_build_object(
    'fires', CASE t.tgenabled WHEN 'A' THEN 'always' WHEN 'O' THEN 'not in a replica' WHEN 'D' THEN 'never'
                              ELSE 'in a replica only' END,
    'definition', pg_get_triggerdef(t.oid), 'version', concat_ws('/', t.oid, t.xmin))
FROM pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'policy', p.polname || ' on ' || r.name, r.part, jsonb_build_object(
    'command', p.polcmd, 'permissive', p.polpermissive,
    'roles', (SELECT jsonb_agg(o::regrole::text ORDER BY o::regrole::text COLLATE "C") FROM unnest(p.polroles) o),
    'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid),
    'version', concat_ws('/', p.oid, p.xmin))
FROM pg_policy p JOIN rel r ON r.oid = p.polrelid
UNION ALL
SELECT 'rule', w.rulename || ' on ' || r.name, r.part,
    jsonb_build_object('definition', pg_get_ruledef(w.oid), 'enabled', w.ev_enabled)
FROM pg_rewrite w JOIN rel r ON r.oid = w.ev_class
UNION ALL
SELECT 'function', format('%s.%s(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), '',
    jsonb_build_object(
    'owner', p.proowner::regrole::text, 'rights', coalesce((SELECT jsonb_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(p.proacl) a), 'null'), 'definer', p.prosecdef,
    'language', (SELECT lanname FROM pg_language l WHERE l.oid = p.prolang), 'volatility', p.provolatile,
    'returns', pg_get_function_result(p.oid), 'settings', coalesce(to_jsonb(p.proconfig), 'null'),
    'body', encode(sha256(convert_to(concat(p.prosrc, p.probin, pg_get_function_sqlbody(p.oid)), 'UTF8')), 'hex'),
    'version', concat_ws('/', p.oid, p.xmin))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('quorate', 'quorate_guard')
UNION ALL
SELECT 'event trigger', e.evtname, '', jsonb_build_object(
    'owner', e.evtowner::regrole::text, 'event', e.evtevent, 'calls', e.evtfoid::regproc::text,
    'tags', coalesce(to_jsonb(e.evttags), 'null'),
    'fires', CASE e.evtenabled WHEN 'A' THEN 'always' WHEN 'O' THEN 'not in a replica' WHEN 'D' THEN 'never'
                               ELSE 'in a replica only' END,
    'comment', obj_description(e.oid, 'pg_event_trigger'), 'version', concat_ws('/', e.oid, e.xmin))
FROM pg_event_trigger e
UNION ALL
SELECT 'extension', e.extname, '', jsonb_build_object('version', e.extversion, 'owner', e.extowner::regrole::text)
FROM pg_extension e
UNION ALL
SELECT 'subscription', s.subname, '', jsonb_build_object('enabled', s.subenabled) FROM pg_subscription s
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT 'schema', n.nspname, '', jsonb_build_object(
    'owner', n.nspowner::regrole::text, 'rights', coalesce((SELECT jsonb_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(n.nspacl) a), 'null'))
FROM pg_namespace n WHERE n.nspname IN ('quorate', 'quorate_guard')
UNION ALL
SELECT 'default rights', concat_ws(' ', d.defaclrole::regrole, nullif(d.defaclnamespace, 0)::regnamespace,
    d.defaclobjtype), '', jsonb_build_object('rights', coalesce((SELECT jsonb_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(d.defaclacl) a), 'null'))
FROM pg_default_acl d WHERE d.defaclrole = 'quorate_owner'::regrole
UNION ALL
SELECT 'role', r.rolname, '', jsonb_build_object(
    'login', r.rolcanlogin, 'superuser', r.rolsuper, 'createRole', r.rolcreaterole, 'createDatabase', r.rolcreatedb,
    'bypassesRowSecurity', r.rolbypassrls, 'replication', r.rolreplication)
FROM pg_roles r WHERE r.oid IN (SELECT oid FROM ours) OR r.rolsuper
UNION ALL
SELECT 'membership', format('of %s in %s', m.member::regrole, o.rolname), '',
    jsonb_build_object('mayGrant', bool_or(m.admin_option))
FROM pg_auth_members m JOIN ours o ON o.oid = m.roleid GROUP BY m.member, o.rolname
UNION ALL
SELECT 'setting', concat_ws(' ', nullif(s.setrole, 0)::regrole, CASE WHEN s.setdatabase <> 0 THEN 'here' END), '',
    jsonb_build_object('values', to_jsonb(s.setconfig))
FROM pg_db_role_setting s
WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
AND (s.setrole = 0 OR s.setrole IN (SELECT oid FROM ours UNION
     SELECT m.member FROM pg_auth_members m JOIN ours o ON o.oid = m.roleid))
UNION ALL
SELECT 'state', 'migrations', '', jsonb_agg(jsonb_build_array(version, digest) ORDER BY version) FROM quorate.migration
UNION ALL
SELECT 'state', 'sizes', '', coalesce(jsonb_object_agg(chain_id, size), '{}') FROM quorate.chain_head
UNION ALL
SELECT 'state', 'pruned', '', coalesce(jsonb_object_agg(chain_id, end_seq), '{}')
FROM (SELECT chain_id, max(end_seq) AS end_seq FROM gone GROUP BY chain_id) g
UNION ALL
SELECT 'state', 'acknowledged', '', to_jsonb(coalesce(max(number), 0)) FROM quorate.catalogue_acknowledgement
UNION ALL
SELECT 'state', 'server', '', to_jsonb(current_setting('server_version'))
UNION ALL
SELECT 'state', 'superuser', '', to_jsonb(rolsuper) FROM pg_roles WHERE rolname = current_user
UNION ALL
-- A setting of a library that is not loaded is not in pg_settings, whatever somebody wrote into it.
SELECT 'state', 'pgaudit', '', to_jsonb(EXISTS (SELECT FROM pg_settings WHERE name = 'pgaudit.log' AND setting <> 'none'))
