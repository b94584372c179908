-- name: deliveries
-- question: Did everybody get the report?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  deliveries.sink, deliveries.revision, deliveries.status, deliveries.attempts, deliveries.delivered_at,
  coalesce(deliveries.last_error, '') AS last_error
FROM deliveries JOIN chosen USING (incident_id)
ORDER BY deliveries.sink, deliveries.revision
