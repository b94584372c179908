-- name: lock-holders
-- question: Who holds the locks others wait for?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  own_function AS function, leaf_function AS released_in, round(sum(value) FILTER (value_type = 'contentions'), 0) AS waits,
  round(sum(value) FILTER (value_type = 'delay') / 1e6, 0) AS others_waited_ms
FROM profile_samples JOIN captures USING (profile_id) JOIN chosen USING (incident_id) JOIN profiles USING (profile_id)
WHERE profile_samples.kind = 'mutex' AND profiles.basis = 'interval' AND NOT is_profiler
GROUP BY own_function, leaf_function HAVING others_waited_ms > 0
ORDER BY others_waited_ms DESC, function, released_in LIMIT 20
