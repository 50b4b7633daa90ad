-- What a delivery that is queued at once always has. Defaults alone, no row is touched: processes of
-- the release before, which name every column, work on meanwhile.
ALTER TABLE receive_msg
    ALTER COLUMN status SET DEFAULT 1,
    ALTER COLUMN attempts SET DEFAULT 0,
    ALTER COLUMN reason SET DEFAULT 0,
    ALTER COLUMN due_ms SET DEFAULT 0;
