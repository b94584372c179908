-- name: captures
-- question: Which profiles were taken, and how late?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  captures.kind, captures.phase, captures.trigger, captures.service_instance_id AS instance, captures.status,
  round(captures.lag_ms, 0) AS lag_ms, captures.bytes, captures.profile_id
FROM captures JOIN chosen USING (incident_id)
ORDER BY captures.requested_at, captures.kind, captures.phase
