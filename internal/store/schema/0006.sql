-- Version 6: a binary is a content at a path on a device, since in containers one path
-- has a content in each image. What had another content on another device has not
-- changed; of a row from before only the device where it was seen last is known.
DROP VIEW binaries;
ALTER TABLE binary_rows RENAME TO old_binaries;
CREATE TABLE binary_rows (
  exe        INTEGER NOT NULL, -- STRINGS
  dev        INTEGER NOT NULL, -- 0 = not known
  sha256     INTEGER NOT NULL, -- STRINGS: hex
  inode      INTEGER,          -- of the file that was seen last
  size       INTEGER,          -- bytes
  mtime      INTEGER,          -- Unix ns
  first_seen INTEGER NOT NULL, -- Unix ns
  last_seen  INTEGER NOT NULL, -- Unix ns
  execs      INTEGER NOT NULL, -- execs that are known with this hash; not what was found running
  previous   INTEGER,          -- STRINGS: the other hash that was seen at exe on dev before; NULL = none
  PRIMARY KEY (exe, dev, sha256)
) WITHOUT ROWID;
INSERT INTO binary_rows SELECT b.exe, coalesce(b.dev, 0), b.sha256, b.inode, b.size, b.mtime, b.first_seen, b.last_seen, b.execs,
  (SELECT p.sha256 FROM old_binaries p WHERE p.exe = b.exe AND p.sha256 = b.previous AND p.dev IS b.dev)
FROM old_binaries b;
DROP TABLE old_binaries;
CREATE VIEW binaries AS SELECT
  b.first_seen AS ts,
  rfc3339(b.first_seen) AS time,
  (SELECT s FROM strings WHERE id = b.sha256) AS sha256,
  (SELECT s FROM strings WHERE id = b.exe) AS exe,
  nullif(b.dev, 0) AS dev,
  b.inode AS inode,
  b.size AS size,
  b.mtime AS mtime,
  b.first_seen AS first_seen,
  b.execs AS execs,
  b.last_seen AS last_seen,
  (SELECT s FROM strings WHERE id = b.previous) AS previous
FROM binary_rows b;
