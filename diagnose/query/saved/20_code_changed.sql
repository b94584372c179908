-- name: code-changed
-- question: Which functions cost more than before?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
--   kind VARCHAR: kind of the profiles compared; cpu when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), taken AS (
  SELECT
    profiles.profile_id, profiles.service_instance_id, profiles.started_at,
    captures.incident_id IS NOT NULL AS is_during
  FROM captures JOIN profiles USING (profile_id), chosen
  WHERE profiles.kind = coalesce($kind, 'cpu') AND profiles.service_name = chosen.service_name
    AND captures.phase = 'first' AND (
      captures.incident_id = chosen.incident_id AND captures.trigger <> 'resolved'
      OR captures.trigger = 'baseline' AND profiles.started_at < chosen.started_at)
), pair AS (
  SELECT base.profile_id AS base_id, during.profile_id AS new_id
  FROM taken AS during JOIN taken AS base USING (service_instance_id)
  WHERE during.is_during AND NOT base.is_during
  ORDER BY during.started_at DESC, base.started_at DESC LIMIT 1
)
SELECT function, flat_points, cum_points, z
FROM (
  SELECT
    function, round(flat_points, 1) AS flat_points, round(cum_points, 1) AS cum_points, round(z, 1) AS z
  FROM profile_diff((SELECT base_id FROM pair), (SELECT new_id FROM pair))
)
ORDER BY abs(z) DESC, abs(cum_points) DESC, function LIMIT 20
