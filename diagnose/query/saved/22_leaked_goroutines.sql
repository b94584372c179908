-- name: leaked-goroutines
-- question: Who leaked goroutines?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), taken AS (
  SELECT profiles.profile_id, captures.incident_id IS NOT NULL AS is_during
  FROM captures JOIN profiles USING (profile_id), chosen
  WHERE profiles.kind = 'goroutine' AND profiles.basis = 'snapshot' AND profiles.service_name = chosen.service_name AND (
    captures.incident_id = chosen.incident_id AND captures.trigger <> 'resolved'
    OR captures.trigger = 'baseline' AND profiles.started_at < chosen.started_at)
  QUALIFY row_number() OVER (
    PARTITION BY is_during, profiles.service_instance_id ORDER BY profiles.started_at DESC, profile_id) = 1
)
SELECT
  own_function AS function, leaf_function AS waits_in, sum(value) FILTER (NOT is_during) AS before,
  sum(value) FILTER (is_during) AS during,
  coalesce(sum(value) FILTER (is_during), 0) - coalesce(sum(value) FILTER (NOT is_during), 0) AS grown
FROM profile_samples JOIN taken USING (profile_id)
WHERE NOT is_profiler
GROUP BY own_function, leaf_function ORDER BY grown DESC, function, waits_in LIMIT 20
