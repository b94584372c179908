-- name: repeat-offenders
-- question: What keeps coming back?
-- parameters:
--   since TIMESTAMPTZ: since when; thirty days ago when left out
SELECT
  incidents.service_name AS service, alerts.alertname, count(*) AS times,
  count(DISTINCT alerts.incident_id) AS incidents, max(alerts.starts_at) AS last_at,
  round(sum(epoch_ms(coalesce(alerts.ends_at, now())) - epoch_ms(alerts.starts_at)) / 60000, 1) AS firing_minutes,
  arg_max(incidents.top_finding, incidents.started_at) AS last_cause
FROM alerts JOIN incidents USING (incident_id)
WHERE alerts.starts_at >= coalesce($since::TIMESTAMPTZ, now() - INTERVAL 30 DAY)
GROUP BY incidents.service_name, alerts.alertname ORDER BY times DESC, firing_minutes DESC, service, alertname LIMIT 30
