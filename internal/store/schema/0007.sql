-- Version 7: the ancestors of a process are kept with it, since one that did not execute
-- anything itself has them from its parent, as that was when it was forked.

ALTER TABLE procs ADD COLUMN ancestors INTEGER; -- STRINGS: JSON array of paths, nearest first; NULL = not known
UPDATE procs SET ancestors = (SELECT e.ancestors FROM exec_rows e WHERE e.ts = procs.image) WHERE execs > 0;

-- Of one that lives and executed nothing the parents are known as they are now.
CREATE TABLE lineages AS
WITH RECURSIVE up(id, depth, at, list) AS (
  SELECT id, 0, parent, '' FROM procs WHERE execs = 0 AND ended_ts IS NULL AND parent IS NOT NULL
  UNION ALL
  SELECT up.id, up.depth + 1, CASE WHEN q.execs = 0 THEN q.parent END,
    up.list || json_quote(x.s) || ',' || CASE WHEN q.execs > 0 THEN coalesce(substr(a.s, 2, length(a.s) - 2), '') ELSE '' END
  FROM up JOIN procs q ON q.id = up.at JOIN exec_rows e ON e.ts = q.image JOIN strings x ON x.id = e.exe
    LEFT JOIN strings a ON a.id = e.ancestors
  WHERE up.depth < 64
)
SELECT id, max(depth) AS depth, '[' || rtrim(list, ',') || ']' AS s FROM up WHERE depth > 0 GROUP BY id;
INSERT OR IGNORE INTO strings(s) SELECT s FROM lineages;
UPDATE procs SET ancestors = (SELECT t.id FROM lineages l JOIN strings t ON t.s = l.s WHERE l.id = procs.id)
WHERE id IN (SELECT id FROM lineages);
DROP TABLE lineages;
