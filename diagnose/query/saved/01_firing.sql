-- name: firing
-- question: What is firing, and since when?
-- parameters:
--   service VARCHAR: only this service
SELECT
  alerts.alertname, coalesce(incidents.service_name, alerts.labels['job']) AS service,
  coalesce(alerts.labels['severity'], '') AS severity, alerts.active_at, alerts.starts_at AS firing_since,
  alerts.value, alerts.incident_id
FROM alerts LEFT JOIN incidents USING (incident_id)
WHERE alerts.status = 'firing' AND ($service IS NULL OR incidents.service_name = $service)
ORDER BY firing_since, alerts.alertname
