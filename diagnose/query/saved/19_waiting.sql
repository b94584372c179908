-- name: waiting
-- question: What do the goroutines wait for?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  coalesce(profile_samples.labels['state'], '') AS state, own_function AS function, leaf_function AS leaf,
  count(DISTINCT trace_id) AS traces, round(sum(value) / 1e6, 0) AS wall_ms
FROM profile_samples JOIN captures USING (profile_id) JOIN chosen USING (incident_id)
WHERE profile_samples.kind = 'wall' AND value_type = 'wall' AND NOT is_profiler AND trace_id IS NOT NULL
GROUP BY ALL ORDER BY wall_ms DESC, state, function, leaf LIMIT 20
