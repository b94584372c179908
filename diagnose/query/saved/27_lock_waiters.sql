-- name: lock-waiters
-- question: Who waits for a lock, and in which requests?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  own_function AS function, count(DISTINCT trace_id) AS traces, sum(observations) AS times_seen,
  round(sum(value) / 1e6, 0) AS waited_ms
FROM profile_samples JOIN captures USING (profile_id) JOIN chosen USING (incident_id)
WHERE profile_samples.kind = 'wall' AND value_type = 'wall' AND profile_samples.labels['state'] = 'mutex'
GROUP BY own_function ORDER BY waited_ms DESC, function LIMIT 20
