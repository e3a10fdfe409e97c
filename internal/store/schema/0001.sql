-- Version 1 of the event store.
--
-- The writer keeps what it needs to find things in memory, so that no table of
-- events carries a secondary index: the key of each is the time in Unix ns,
-- moved on by 1 until it is free. A column holds NULL when the field was not
-- seen. Words in capitals below are ids in the table of that name.

CREATE TABLE boots (
  id    INTEGER PRIMARY KEY,
  uuid  BLOB NOT NULL UNIQUE,
  short TEXT NOT NULL -- first eight hex digits, as in a process key
);

-- The dictionary of what repeats. Bytes that are not UTF-8 are kept as they are.
CREATE TABLE strings (
  id INTEGER PRIMARY KEY,
  s  TEXT NOT NULL UNIQUE
);

CREATE TABLE procs (
  id        INTEGER PRIMARY KEY,
  boot      INTEGER NOT NULL, -- BOOTS
  pid       INTEGER NOT NULL,
  start     INTEGER NOT NULL, -- ticks on the boot clock
  start_ns  INTEGER,          -- exact, on the boot clock
  started   INTEGER,          -- Unix ns
  parent    INTEGER,          -- PROCS
  ppid      INTEGER,          -- 0 = the kernel
  first_ts  INTEGER,          -- of its first event; NULL = only named as a parent so far
  image     INTEGER,          -- exec_rows.ts of what it runs, own or inherited by fork
  execs     INTEGER NOT NULL, -- number of its own exec rows
  ended_ts  INTEGER,
  exit_code INTEGER,
  signal    INTEGER,
  core      INTEGER,
  presumed  INTEGER
);
-- Only processes that outlive the batch they came in ever enter it.
CREATE INDEX procs_live ON procs(boot) WHERE ended_ts IS NULL;
-- Costs 10 to 15 % of writing, finds what the writer no longer has in memory, and
-- answers "which process had this pid" without a scan.
CREATE INDEX procs_pid ON procs(pid);

CREATE TABLE exec_rows (
  ts           INTEGER PRIMARY KEY,
  seq          INTEGER NOT NULL, -- order of arrival over all kinds
  proc         INTEGER NOT NULL, -- PROCS
  exec_no      INTEGER NOT NULL,
  parent       INTEGER,          -- PROCS
  parent_image INTEGER,          -- exec_rows.ts of what the parent ran at that moment
  ancestors    INTEGER,          -- STRINGS: JSON array of paths, nearest first
  source       INTEGER NOT NULL,
  known        INTEGER NOT NULL, -- bits of event.Known
  uid INTEGER, gid INTEGER, euid INTEGER, egid INTEGER, auid INTEGER,
  user         INTEGER,          -- STRINGS
  sid          INTEGER,
  tty          INTEGER,          -- STRINGS
  exe          INTEGER,          -- STRINGS
  invoked      INTEGER,          -- STRINGS; NULL and known = the same as exe
  interpreter  INTEGER,          -- STRINGS
  cmdline      TEXT,             -- arguments joined by one space
  splits       BLOB,             -- where to cut cmdline; NULL = at each space
  args_len     INTEGER,          -- NULL and known = nothing was cut
  argc         INTEGER,
  cwd          INTEGER,          -- STRINGS
  comm         INTEGER,          -- STRINGS
  cgroup       INTEGER,          -- STRINGS
  container_id INTEGER,          -- STRINGS
  pid_ns INTEGER, mnt_ns INTEGER, ns_pid INTEGER,
  dev INTEGER, inode INTEGER, nlink INTEGER,
  flags        INTEGER NOT NULL, -- 1 fileless, 2 deleted, 4 truncated, 8.. gained << 3
  sha256       INTEGER           -- STRINGS: hex
);

-- As exec_rows (proc is who tried, parent_image what its parent ran), and errno.
CREATE TABLE failure_rows (
  ts           INTEGER PRIMARY KEY,
  seq          INTEGER NOT NULL,
  proc         INTEGER NOT NULL,
  exec_no      INTEGER NOT NULL, -- of the image that goes on running
  parent       INTEGER,
  parent_image INTEGER,
  ancestors    INTEGER,
  source       INTEGER NOT NULL,
  known        INTEGER NOT NULL,
  uid INTEGER, gid INTEGER, euid INTEGER, egid INTEGER, auid INTEGER,
  user         INTEGER,
  sid          INTEGER,
  tty          INTEGER,
  exe          INTEGER,
  invoked      INTEGER,
  interpreter  INTEGER,
  cmdline      TEXT,
  splits       BLOB,
  args_len     INTEGER,
  argc         INTEGER,
  cwd          INTEGER,
  comm         INTEGER,
  cgroup       INTEGER,
  container_id INTEGER,
  pid_ns INTEGER, mnt_ns INTEGER, ns_pid INTEGER,
  dev INTEGER, inode INTEGER, nlink INTEGER,
  flags        INTEGER NOT NULL,
  sha256       INTEGER,
  errno        INTEGER NOT NULL
);

CREATE TABLE fork_rows (
  ts     INTEGER PRIMARY KEY,
  seq    INTEGER NOT NULL,
  proc   INTEGER NOT NULL,
  source INTEGER NOT NULL
);

CREATE TABLE exit_rows (
  ts          INTEGER PRIMARY KEY,
  seq         INTEGER NOT NULL,
  proc        INTEGER NOT NULL,
  code        INTEGER,
  signal      INTEGER,
  core        INTEGER,
  duration_ns INTEGER,
  presumed    INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  known       INTEGER NOT NULL
);

CREATE TABLE gap_rows (
  ts     INTEGER PRIMARY KEY,
  seq    INTEGER NOT NULL,
  until  INTEGER NOT NULL,
  kind   INTEGER NOT NULL, -- 0 = any
  lost   INTEGER,
  cause  INTEGER,          -- STRINGS
  source INTEGER NOT NULL
);

CREATE TABLE binary_rows (
  sha256     TEXT PRIMARY KEY, -- hex
  exe        TEXT,
  dev        INTEGER,
  inode      INTEGER,
  size       INTEGER,
  mtime      INTEGER,
  first_seen INTEGER NOT NULL,
  execs      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE alert_rows (
  n            INTEGER PRIMARY KEY,
  id           TEXT NOT NULL UNIQUE,
  ts           INTEGER NOT NULL,
  rule_id      TEXT NOT NULL,
  rule_name    TEXT NOT NULL,
  rule_version TEXT NOT NULL,
  author       TEXT NOT NULL,
  severity     INTEGER NOT NULL,
  tags         TEXT NOT NULL, -- JSON array
  title        TEXT NOT NULL,
  state        TEXT NOT NULL,
  key          TEXT NOT NULL,
  count        INTEGER NOT NULL,
  first_seen   INTEGER NOT NULL,
  last_seen    INTEGER NOT NULL,
  process      TEXT NOT NULL, -- '' = none
  evidence     TEXT NOT NULL, -- JSON
  complete     INTEGER NOT NULL
);
CREATE INDEX alert_fold ON alert_rows(rule_id, key, last_seen) WHERE state <> 'closed';

-- How far a reader of the store has come; '#seq' is the last number given out.
CREATE TABLE cursors (
  name TEXT PRIMARY KEY,
  seq  INTEGER NOT NULL
) WITHOUT ROWID;

-- One row for each run of the agent, with the place in the collector's stream
-- up to which everything is stored.
CREATE TABLE runs (
  id          INTEGER PRIMARY KEY,
  started     INTEGER NOT NULL,
  ended       INTEGER, -- NULL: it runs, or it was killed
  boot        BLOB,
  session     TEXT,
  session_seq INTEGER
);

-- The views are what rules and queries see. A column that is looked up is a
-- subquery, since that costs nothing where the column is not used (SQLite drops
-- unused joins, but not below GROUP BY), and exe is a join, since SQLite can turn
-- that around and go from the path to the rows.

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
  CASE WHEN e.known & 2097152 THEN gained_names(e.flags >> 3) END AS gained,
  (SELECT s FROM strings WHERE id = e.sha256) AS sha256,
  source_name(e.source) AS source,
  known_names(e.known) AS known
FROM exec_rows e LEFT JOIN strings x ON x.id = e.exe;

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
  CASE WHEN e.known & 2097152 THEN gained_names(e.flags >> 3) END AS gained,
  (SELECT s FROM strings WHERE id = e.sha256) AS sha256,
  source_name(e.source) AS source,
  known_names(e.known) AS known,
  e.errno AS errno,
  errno_text(e.errno) AS error
FROM failure_rows e LEFT JOIN strings x ON x.id = e.exe;

CREATE VIEW forks AS SELECT
  e.seq AS seq,
  e.ts AS ts,
  rfc3339(e.ts) AS time,
  (SELECT b.short || '-' || p.pid || '-' || p.start FROM procs p JOIN boots b ON b.id = p.boot WHERE p.id = e.proc) AS process,
  (SELECT p.pid FROM procs p WHERE p.id = e.proc) AS pid,
  (SELECT b.short || '-' || q.pid || '-' || q.start FROM procs p JOIN procs q ON q.id = p.parent JOIN boots b ON b.id = q.boot WHERE p.id = e.proc) AS parent,
  (SELECT p.ppid FROM procs p WHERE p.id = e.proc) AS ppid,
  source_name(e.source) AS source
FROM fork_rows e;

CREATE VIEW exits AS SELECT
  e.seq AS seq,
  e.ts AS ts,
  rfc3339(e.ts) AS time,
  (SELECT b.short || '-' || p.pid || '-' || p.start FROM procs p JOIN boots b ON b.id = p.boot WHERE p.id = e.proc) AS process,
  (SELECT p.pid FROM procs p WHERE p.id = e.proc) AS pid,
  e.code AS code,
  e.signal AS signal,
  e.core AS core,
  e.duration_ns AS duration_ns,
  e.presumed AS presumed,
  source_name(e.source) AS source
FROM exit_rows e;

-- ts is when it started, or when it was first seen where that is not known.
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
  CASE WHEN e.known & 2097152 THEN gained_names(e.flags >> 3) END AS gained,
  (SELECT s FROM strings WHERE id = e.sha256) AS sha256
FROM procs r LEFT JOIN exec_rows e ON e.ts = r.image LEFT JOIN strings x ON x.id = e.exe;

CREATE VIEW gaps AS SELECT
  e.seq AS seq,
  e.ts AS ts,
  rfc3339(e.ts) AS time,
  e.until AS until,
  kind_name(e.kind) AS kind,
  e.lost AS lost,
  (SELECT s FROM strings WHERE id = e.cause) AS cause,
  source_name(e.source) AS source
FROM gap_rows e;

CREATE VIEW binaries AS SELECT
  e.first_seen AS ts,
  rfc3339(e.first_seen) AS time,
  e.sha256 AS sha256,
  e.exe AS exe,
  e.dev AS dev,
  e.inode AS inode,
  e.size AS size,
  e.mtime AS mtime,
  e.first_seen AS first_seen,
  e.execs AS execs
FROM binary_rows e;

CREATE VIEW alerts AS SELECT
  e.id AS id,
  e.ts AS ts,
  rfc3339(e.ts) AS time,
  e.rule_id AS rule_id,
  e.rule_name AS rule_name,
  severity_name(e.severity) AS severity,
  e.state AS state,
  e.count AS count,
  e.first_seen AS first_seen,
  e.last_seen AS last_seen,
  nullif(e.process, '') AS process,
  e.title AS title,
  e.evidence AS evidence,
  e.complete AS complete,
  e.rule_version AS rule_version,
  nullif(e.author, '') AS author,
  e.tags AS tags,
  nullif(e.key, '') AS key
FROM alert_rows e;
