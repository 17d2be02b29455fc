-- The sessions of `presencectl report sessions`, computed by DuckDB:
--
--   duckdb -csv -cmd "SET VARIABLE recordings = 'day-*.ndjson'" -f sessions.sql
--
-- Each file is one watcher's recording, with all its restarts and gaps. Several files are shards: each user is in one
-- of them. What redundant watchers know of the same users is merged by `presencectl report` only. Sessions shorter than
-- a millisecond are left out.

-- The lines, in the order in which they were written.
CREATE TEMP TABLE line AS
WITH raw AS (
  SELECT *, row_number() OVER () AS number, CAST(received_at AS TIMESTAMP) AS received
  FROM read_json(
    getvariable('recordings'), format = 'newline_delimited', filename = true, ignore_errors = true,
    columns = {type: 'VARCHAR', seq: 'BIGINT', received_at: 'VARCHAR', source: 'VARCHAR', online: 'BOOLEAN', deleted: 'BOOLEAN',
      "from": 'VARCHAR', "to": 'VARCHAR', repaired: 'VARCHAR[]', missing: 'VARCHAR[]',
      "user": 'STRUCT(id VARCHAR, name VARCHAR, status VARCHAR, online BOOLEAN)'})
  WHERE type IS NOT NULL AND received_at IS NOT NULL
), dated AS (
  SELECT filename, number, type, source, online, deleted, repaired, missing, "user",
    date_trunc('milliseconds', received) AS received,
    date_trunc('milliseconds', CAST("from" AS TIMESTAMP)) AS gap_from,
    date_trunc('milliseconds', CAST("to" AS TIMESTAMP)) AS gap_to,
    -- A killed watcher leaves no stream.end, but the next one counts from 1 again.
    seq <= lag(seq) OVER file AS is_restart,
    max(received) OVER (file ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest
  FROM raw
  WINDOW file AS (PARTITION BY filename ORDER BY number)
)
SELECT *,
  -- The end of a gap is rounded up, and the time of a record is rounded down.
  CASE WHEN received + INTERVAL 1 MILLISECOND = last_value(gap_to IGNORE NULLS) OVER (PARTITION BY filename ORDER BY number)
    THEN received + INTERVAL 1 MILLISECOND ELSE received END AS instant
FROM dated;

-- When a connection was lost, and until when that hides all users.
CREATE TEMP TABLE loss AS
WITH closing AS (
  SELECT filename, number, CASE
      WHEN is_restart THEN latest WHEN type = 'presence.gap' THEN gap_to WHEN type = 'stream.end' THEN received ELSE instant END AS until
  FROM line WHERE is_restart OR type IN ('presence.gap', 'connection.recovered', 'stream.end')
), finish AS (
  SELECT filename, max(received) AS instant, max(number) AS number FROM line GROUP BY filename
)
SELECT line.filename, line.instant, line.number,
  coalesce(closing.until, finish.instant) AS until, coalesce(closing.number, finish.number) AS until_number
FROM line
JOIN finish USING (filename)
ASOF LEFT JOIN closing ON line.filename = closing.filename AND line.number < closing.number
WHERE line.type = 'connection.changed' AND NOT line.online;

CREATE TEMP TABLE member AS SELECT DISTINCT filename, "user".id AS id FROM line WHERE "user".id IS NOT NULL;

-- What each line says: a user is online, offline or lost from sight (null), or nobody is in sight because of a gap. What
-- happens in one line happens in the order of `step`.
CREATE TEMP TABLE fact AS
SELECT filename, "user".id AS id, instant, number, 4 AS step, true AS is_state, "user".online AS online, NULL::INTEGER AS gaps,
  {name: "user".name, status: "user".status} AS texts
FROM line
WHERE type IN ('presence.snapshot', 'user.presence.changed', 'user.updated') AND "user".online IS NOT NULL
UNION ALL
SELECT filename, "user".id, instant, number, 4, true, NULL, NULL, NULL
FROM line
WHERE type IN ('user.deleted', 'member.removed')
  OR (type IN ('user.presence.changed', 'user.updated') AND "user".online IS NULL AND (deleted OR source = 'resync'))
UNION ALL
SELECT filename, unnest(missing), instant, number, 4, true, NULL, NULL, NULL FROM line WHERE type = 'presence.coverage'
UNION ALL
SELECT filename, id, gap_from, number, 1, false, NULL, 1, NULL
FROM line JOIN member USING (filename) WHERE type = 'presence.gap'
UNION ALL
-- A gap ends for everybody but the repaired, whose own records follow.
SELECT filename, unnest(repaired), gap_to, number, 2, true, NULL, NULL, NULL FROM line WHERE type = 'presence.gap'
UNION ALL
SELECT filename, id, gap_to, number, 3, false, NULL, -1, NULL
FROM line JOIN member USING (filename) WHERE type = 'presence.gap'
UNION ALL
-- Nobody is in sight from a lost connection on, until the gap that reports it is over, or the run ends.
SELECT filename, id, instant, number, 1, false, NULL, 1, NULL FROM loss JOIN member USING (filename)
UNION ALL
SELECT filename, id, until, until_number, 3, false, NULL, -1, NULL FROM loss JOIN member USING (filename)
UNION ALL
-- A run of the watcher ends: with its last line if it was killed.
SELECT filename, id, CASE WHEN is_restart THEN latest ELSE received END, number, CASE WHEN is_restart THEN 0 ELSE 4 END,
  true, NULL, NULL, NULL
FROM line JOIN member USING (filename) WHERE is_restart OR type = 'stream.end'
UNION ALL
SELECT filename, id, max(received), max(number), 5, true, NULL, NULL, NULL
FROM line JOIN member USING (filename) GROUP BY filename, id;

-- Each user's state from one fact to the next: what was last said of them, unless there is a gap.
CREATE TEMP TABLE state AS
WITH told AS (
  SELECT id, instant, number, step,
    last_value(CASE WHEN is_state THEN coalesce(CAST(online AS INTEGER), -1) END IGNORE NULLS) OVER so_far AS said,
    coalesce(sum(gaps) OVER so_far, 0) > 0 AS in_gap,
    last_value(texts IGNORE NULLS) OVER (so_far ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS texts_before,
    last_value(texts IGNORE NULLS) OVER (so_far ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last_texts
  FROM fact
  WINDOW so_far AS (PARTITION BY id ORDER BY instant, number, step)
), seen AS (
  SELECT *, CASE WHEN NOT in_gap AND said >= 0 THEN said = 1 END AS online FROM told
), changed AS (
  SELECT * FROM seen
  QUALIFY online IS DISTINCT FROM lag(online) OVER (PARTITION BY id ORDER BY instant, number, step)
), settled AS (
  -- A user who is out of sight for no time at all is not.
  SELECT * FROM changed
  QUALIFY online IS NOT NULL OR instant IS DISTINCT FROM lead(instant) OVER (PARTITION BY id ORDER BY instant, number, step)
), kept AS (
  SELECT * FROM settled
  QUALIFY online IS DISTINCT FROM lag(online) OVER (PARTITION BY id ORDER BY instant, number, step)
), spans AS (
  SELECT *,
    lag(online) OVER by_time AS was,
    lead(instant) OVER by_time AS until,
    lead(online) OVER by_time AS next,
    coalesce(lead(texts_before) OVER by_time, last_texts) AS texts
  FROM kept
  WINDOW by_time AS (PARTITION BY id ORDER BY instant, number, step)
)
SELECT *, coalesce(bool_or(online IS NOT NULL AND until > instant) OVER (
    PARTITION BY id ORDER BY instant, number, step ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false) AS was_known
FROM spans;

WITH finish AS (SELECT max(received) AS instant FROM line)
SELECT id AS user_id, texts.name AS name,
  strftime(state.instant, '%Y-%m-%dT%H:%M:%S.%gZ') AS "from",
  CASE WHEN is_open THEN NULL ELSE strftime(until, '%Y-%m-%dT%H:%M:%S.%gZ') END AS "to",
  date_diff('millisecond', state.instant, until) / 1000 AS duration_s,
  CASE WHEN was IS NOT NULL THEN 'observed' WHEN was_known THEN 'gap' ELSE 'data_start' END AS start,
  CASE WHEN is_open THEN 'data_end' WHEN next IS NOT NULL THEN 'observed' ELSE 'gap' END AS "end",
  texts.status AS status
FROM state, finish, LATERAL (SELECT next IS NULL AND until >= finish.instant AS is_open)
WHERE online AND until > state.instant
ORDER BY until, id;
