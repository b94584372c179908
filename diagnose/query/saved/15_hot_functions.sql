-- name: hot-functions
-- question: Which functions burn the CPU?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), newest AS (
  SELECT profile_id
  FROM captures JOIN chosen USING (incident_id) JOIN profiles USING (profile_id)
  WHERE captures.kind = 'cpu' AND captures.trigger <> 'resolved'
  ORDER BY profiles.started_at DESC, profile_id LIMIT 1
)
SELECT
  function, file, round(flat / 1e6, 0) AS flat_ms, round(flat_percent, 1) AS flat_percent,
  round(cum / 1e6, 0) AS cum_ms, round(cum_percent, 1) AS cum_percent, is_own
FROM top_functions((SELECT profile_id FROM newest), 'cpu')
ORDER BY flat_ms DESC, cum_ms DESC, function LIMIT 20
