-- Version 7: the ancestors of a process are kept with it, since one that did not execute
-- anything itself has them from its parent, as that was when it was forked.

ALTER TABLE procs ADD COLUMN ancestors INTEGER; -- STRINGS: JSON array of paths, nearest first; NULL = not known
UPDATE procs SET ancestors = (SELECT e.ancestors FROM exec_rows e WHERE e.ts = procs.image) WHERE execs > 0;
