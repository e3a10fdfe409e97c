-- Version 3: which gaps touch a range of time, and which alerts a gap touches.
-- Gaps are few beside events, and so are alerts that nobody has closed.
CREATE INDEX gap_until ON gap_rows(until);
CREATE INDEX alert_whole ON alert_rows(last_seen) WHERE complete = 1 AND state <> 'closed';
