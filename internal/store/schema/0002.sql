-- Version 2: environment and redaction of an exec, hashes of executables.

ALTER TABLE exec_rows ADD COLUMN env TEXT;    -- NAME=VALUE, each followed by a NUL
ALTER TABLE failure_rows ADD COLUMN env TEXT; -- likewise
-- exec_rows.flags and failure_rows.flags: 64 redacted; 8, 16 and 32 are gained.
-- exec_rows.flags: 128 the hash came after the exec was stored.

-- A path may hold one content after another, and a content may be at many paths.
DROP VIEW binaries;
DROP TABLE binary_rows; -- was never filled
CREATE TABLE binary_rows (
  exe        INTEGER NOT NULL, -- STRINGS
  sha256     INTEGER NOT NULL, -- STRINGS: hex
  dev        INTEGER,          -- of the file that was seen last
  inode      INTEGER,
  size       INTEGER,          -- bytes
  mtime      INTEGER,          -- Unix ns
  first_seen INTEGER NOT NULL, -- Unix ns
  last_seen  INTEGER NOT NULL, -- Unix ns
  execs      INTEGER NOT NULL, -- execs that are known with this hash; not what was found running
  previous   INTEGER,          -- STRINGS: the other hash that was seen at exe before; NULL = none
  PRIMARY KEY (exe, sha256)
) WITHOUT ROWID;

-- Hashes that came after their exec was stored: rules that read them look at that
-- exec again when its number here is new. Once they have, the row goes.
CREATE TABLE hash_rows (
  seq     INTEGER PRIMARY KEY, -- order of arrival, with those of the events
  exec_ts INTEGER NOT NULL     -- exec_rows.ts
);

-- For detection, not for rules: which execs got a hash late, in the order of its
-- arrival, and the hashes that came with their exec.
CREATE VIEW late_hashes AS SELECT seq, exec_ts AS ts FROM hash_rows;
CREATE VIEW early_hashes AS SELECT
  e.ts AS ts,
  (SELECT s FROM strings WHERE id = e.sha256) AS sha256
FROM exec_rows e WHERE e.flags & 128 = 0;

CREATE VIEW binaries AS SELECT
  b.first_seen AS ts,
  rfc3339(b.first_seen) AS time,
  (SELECT s FROM strings WHERE id = b.sha256) AS sha256,
  (SELECT s FROM strings WHERE id = b.exe) AS exe,
  b.dev AS dev,
  b.inode AS inode,
  b.size AS size,
  b.mtime AS mtime,
  b.first_seen AS first_seen,
  b.execs AS execs,
  b.last_seen AS last_seen,
  (SELECT s FROM strings WHERE id = b.previous) AS previous
FROM binary_rows b;

DROP VIEW execs;
CREATE VIEW execs AS SELECT
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
  CASE WHEN e.known & 2048 THEN coalesce(e.args_len, CASE WHEN e.cmdline = '' AND e.splits IS NULL THEN 0 ELSE octet_length(e.cmdline) + 1 END) END AS args_len,
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
  environ_json(e.env) AS env,
  e.flags >> 6 & 1 AS redacted
FROM exec_rows e LEFT JOIN strings x ON x.id = e.exe;

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
  CASE WHEN e.known & 2048 THEN coalesce(e.args_len, CASE WHEN e.cmdline = '' AND e.splits IS NULL THEN 0 ELSE octet_length(e.cmdline) + 1 END) END AS args_len,
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

DROP VIEW processes;
CREATE VIEW processes AS SELECT
  coalesce(r.started, r.first_ts) AS ts,
  rfc3339(coalesce(r.started, r.first_ts)) AS time,
  (SELECT b.short FROM boots b WHERE b.id = r.boot) || '-' || r.pid || '-' || r.start AS process,
  r.pid AS pid,
  r.ppid AS ppid,
  (SELECT b.short || '-' || p.pid || '-' || p.start FROM procs p JOIN boots b ON b.id = p.boot WHERE p.id = r.parent) AS parent,
  x.s AS exe,
  e.cmdline AS cmdline,
  (SELECT s FROM strings WHERE id = e.user) AS user,
  e.uid AS uid,
  r.started AS started,
  r.ended_ts AS ended,
  r.exit_code AS code,
  r.signal AS signal,
  r.core AS core,
  r.presumed AS presumed,
  r.execs AS execs,
  r.image AS exec_ts,
  e.seq AS exec_seq,
  e.gid AS gid,
  e.euid AS euid,
  e.egid AS egid,
  e.auid AS auid,
  e.sid AS sid,
  (SELECT s FROM strings WHERE id = e.tty) AS tty,
  CASE WHEN e.invoked IS NOT NULL THEN (SELECT s FROM strings WHERE id = e.invoked) WHEN e.known & 512 THEN x.s END AS invoked,
  basename(x.s) AS name,
  (SELECT s FROM strings WHERE id = e.interpreter) AS interpreter,
  args_json(e.cmdline, e.splits) AS args,
  e.argc AS argc,
  CASE WHEN e.known & 2048 THEN coalesce(e.args_len, CASE WHEN e.cmdline = '' AND e.splits IS NULL THEN 0 ELSE octet_length(e.cmdline) + 1 END) END AS args_len,
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
  environ_json(e.env) AS env,
  e.flags >> 6 & 1 AS redacted
FROM procs r LEFT JOIN exec_rows e ON e.ts = r.image LEFT JOIN strings x ON x.id = e.exe;

-- Runs of the agent: whether secrets were redacted before they were stored.
ALTER TABLE runs RENAME TO run_rows;
ALTER TABLE run_rows ADD COLUMN redacted INTEGER; -- NULL = not known
CREATE VIEW runs AS SELECT
  r.started AS ts,
  rfc3339(r.started) AS time,
  r.started AS started,
  r.ended AS ended,
  r.redacted AS redacted,
  lower(hex(r.boot)) AS boot,
  r.session AS session,
  r.session_seq AS session_seq
FROM run_rows r;

-- Which gaps touch a range of time, and which alerts a gap touches.
-- Gaps are few beside events, and so are alerts that nobody has closed.
CREATE INDEX gap_until ON gap_rows(until);
CREATE INDEX alert_whole ON alert_rows(last_seen) WHERE complete = 1 AND state <> 'closed';
