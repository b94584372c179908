-- name: timeline
-- question: What has happened so far?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
SELECT "at", kind, text
FROM timeline((
  SELECT incident_id FROM incidents
  WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
))
