-- The same indexes in other words. SQLite evaluates the condition of each for every row that is written, and for a list
-- of more than two it builds a table each time: that was half of what writing a run cost.
DROP INDEX runs_one_live;
CREATE UNIQUE INDEX runs_one_live ON runs (flight_key)
    WHERE (state IN ('claimed', 'running') OR state IN ('stopping', 'kill_failed'))
      AND (waiting IS NULL OR waiting <> 'overlap');
DROP INDEX runs_failed;
CREATE INDEX runs_failed ON runs (task, id)
    WHERE (state IN ('failed', 'timeout') OR state IN ('lost', 'blocked') OR state = 'kill_failed');
DROP INDEX runs_live;
CREATE INDEX runs_live ON runs (state)
    WHERE (state IN ('claimed', 'running') OR state IN ('stopping', 'kill_failed'));
DROP INDEX runs_places;
CREATE INDEX runs_places ON runs (id)
    WHERE (state IN ('claimed', 'running') OR state IN ('stopping', 'kill_failed'))
      AND waiting IS NULL AND counted = 1;
-- Asked for at each due instant: by the task's few waiting retries, not by all its rows.
CREATE INDEX runs_retry_by_task ON runs (task) WHERE retry_ms IS NOT NULL;
