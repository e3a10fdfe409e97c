-- Version 5: where exec placed a program, which tells one exec from the next.

ALTER TABLE exec_rows ADD COLUMN layout INTEGER; -- event.Exec.Layout; NULL = not known
