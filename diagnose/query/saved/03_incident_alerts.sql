-- name: incident-alerts
-- question: Which alerts belong to the incident, and what did they say?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  alerts.alertname, alerts.status, alerts.active_at, alerts.starts_at, alerts.ends_at, alerts.value,
  coalesce(alerts.annotations['summary'], '') AS summary, alerts.labels
FROM alerts JOIN chosen USING (incident_id)
ORDER BY alerts.starts_at, alerts.alertname
