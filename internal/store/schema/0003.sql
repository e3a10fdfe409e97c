-- Version 3: up to when a run has recorded, whether failed execs too, and what time
-- an alert rests on.

ALTER TABLE run_rows ADD COLUMN covered INTEGER;  -- Unix ns: nothing before it is missing unsaid; NULL = up to the last event
ALTER TABLE run_rows ADD COLUMN outage TEXT;      -- why no events came in when it ended; NULL = they did
ALTER TABLE run_rows ADD COLUMN failures INTEGER; -- 1 failed execs were asked for, 0 they were not; NULL = nobody said

-- Of the events that the rule looked at, Unix ns; NULL = first_seen, last_seen.
ALTER TABLE alert_rows ADD COLUMN looked_from INTEGER;
ALTER TABLE alert_rows ADD COLUMN looked_until INTEGER;
DROP INDEX alert_whole;
CREATE INDEX alert_whole ON alert_rows(coalesce(looked_until, last_seen)) WHERE complete = 1 AND state <> 'closed';

-- A failed exec whose arguments were cut has no length: nobody counted the rest.
DROP VIEW exec_failures;
CREATE VIEW exec_failures AS SELECT
  e.seq AS seq,
  e.ts AS ts,
  rfc3339(e.ts) AS time,
  (SELECT b.short || '-' || p.pid || '-' || p.start FROM procs p JOIN boots b ON b.id = p.boot WHERE p.id = e.proc) AS process,
  e.exec_no AS exec_no,
  (SELECT p.pid FROM procs p WHERE p.id = e.proc) AS pid,
  CASE WHEN e.parent IS NOT NULL THEN (SELECT p.pid FROM procs p WHERE p.id = e.parent) WHEN e.known & 4 THEN 0 END AS ppid,
  (SELECT b.short || '-' || p.pid || '-' || p.start FROM procs p JOIN boots b ON b.id = p.boot WHERE p.id = e.parent) AS parent,
  e.uid AS uid,
  e.gid AS gid,
  e.euid AS euid,
  e.egid AS egid,
  e.auid AS auid,
  (SELECT s FROM strings WHERE id = e.user) AS user,
  e.sid AS sid,
  (SELECT s FROM strings WHERE id = e.tty) AS tty,
  x.s AS exe,
  CASE WHEN e.invoked IS NOT NULL THEN (SELECT s FROM strings WHERE id = e.invoked) WHEN e.known & 512 THEN x.s END AS invoked,
  basename(x.s) AS name,
  (SELECT s FROM strings WHERE id = e.interpreter) AS interpreter,
  args_json(e.cmdline, e.splits) AS args,
  e.cmdline AS cmdline,
  e.argc AS argc,
  CASE WHEN e.known & 2048 AND e.argc IS NOT NULL THEN coalesce(e.args_len, CASE WHEN e.cmdline = '' AND e.splits IS NULL THEN 0 ELSE octet_length(e.cmdline) + 1 END) END AS args_len,
  CASE WHEN e.known & 2048 THEN e.flags >> 2 & 1 END AS truncated,
  (SELECT s FROM strings WHERE id = e.cwd) AS cwd,
  (SELECT s FROM strings WHERE id = e.comm) AS comm,
  (SELECT s.s FROM exec_rows i JOIN strings s ON s.id = i.exe WHERE i.ts = e.parent_image) AS parent_exe,
  (SELECT basename(s.s) FROM exec_rows i JOIN strings s ON s.id = i.exe WHERE i.ts = e.parent_image) AS parent_name,
  (SELECT i.cmdline FROM exec_rows i WHERE i.ts = e.parent_image) AS parent_cmdline,
  (SELECT s FROM strings WHERE id = e.ancestors) AS ancestors,
  (SELECT s FROM strings WHERE id = e.cgroup) AS cgroup,
  (SELECT s FROM strings WHERE id = e.container_id) AS container_id,
  e.pid_ns AS pid_ns,
  e.mnt_ns AS mnt_ns,
  e.ns_pid AS ns_pid,
  e.dev AS dev,
  e.inode AS inode,
  e.nlink AS nlink,
  CASE WHEN e.known & 1048576 THEN e.flags & 1 END AS fileless,
  CASE WHEN e.known & 524288 THEN e.flags >> 1 & 1 END AS deleted,
  CASE WHEN e.known & 2097152 THEN gained_names(e.flags >> 3 & 7) END AS gained,
  (SELECT s FROM strings WHERE id = e.sha256) AS sha256,
  source_name(e.source) AS source,
  known_names(e.known) AS known,
  e.errno AS errno,
  errno_text(e.errno) AS error,
  environ_json(e.env) AS env,
  e.flags >> 6 & 1 AS redacted
FROM failure_rows e LEFT JOIN strings x ON x.id = e.exe;
