-- name: memory-growth
-- question: Who holds the memory?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), taken AS (
  SELECT profiles.profile_id, captures.incident_id IS NOT NULL AS is_during
  FROM captures JOIN profiles USING (profile_id), chosen
  WHERE profiles.kind = 'heap' AND profiles.basis = 'snapshot' AND profiles.service_name = chosen.service_name AND (
    captures.incident_id = chosen.incident_id AND captures.trigger <> 'resolved'
    OR captures.trigger = 'baseline' AND profiles.started_at < chosen.started_at)
  QUALIFY row_number() OVER (
    PARTITION BY is_during, profiles.service_instance_id ORDER BY profiles.started_at DESC, profile_id) = 1
)
SELECT
  own_function AS function, round(sum(value) FILTER (NOT is_during) / 1048576, 1) AS before_mib,
  round(sum(value) FILTER (is_during) / 1048576, 1) AS during_mib,
  round((coalesce(sum(value) FILTER (is_during), 0) - coalesce(sum(value) FILTER (NOT is_during), 0)) / 1048576, 1)
    AS grown_mib
FROM profile_samples JOIN taken USING (profile_id)
WHERE value_type = 'inuse_space' AND NOT is_profiler
GROUP BY own_function ORDER BY grown_mib DESC, function LIMIT 20
