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
