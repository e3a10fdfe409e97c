-- Version 4: up to when a run has recorded, by a clock that nobody sets.

ALTER TABLE run_rows ADD COLUMN reached INTEGER; -- ns on the boot clock: nothing before it is missing unsaid; NULL = not known
