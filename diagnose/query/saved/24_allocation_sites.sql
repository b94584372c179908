-- name: allocation-sites
-- question: Who allocates?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  own_function AS function, leaf_function AS allocates_in, round(sum(value) / 1048576, 1) AS allocated_mib,
  round(100 * sum(value) / nullif(sum(sum(value)) OVER (), 0), 1) AS percent
FROM profile_samples JOIN captures USING (profile_id) JOIN chosen USING (incident_id) JOIN profiles USING (profile_id)
WHERE profile_samples.kind = 'heap' AND profiles.basis = 'interval' AND value_type = 'alloc_space' AND NOT is_profiler
GROUP BY own_function, leaf_function HAVING sum(value) > 0
ORDER BY allocated_mib DESC, function, allocates_in LIMIT 20
