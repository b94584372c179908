-- name: time-to-detect
-- question: How long until we knew?
-- parameters:
--   service VARCHAR: only this service
--   since TIMESTAMPTZ: since when; thirty days ago when left out
SELECT
  incidents.incident_id, incidents.service_name AS service, incidents.started_at AS onset, incidents.opened_at AS webhook,
  round((epoch_ms(incidents.opened_at) - epoch_ms(incidents.started_at)) / 1000, 1) AS onset_to_webhook_s,
  round(max(timings.ms) FILTER (timings.step = 'webhook_to_first_report') / 1000, 1) AS webhook_to_first_report_s,
  round(max(timings.ms) FILTER (timings.step = 'webhook_to_cpu_report') / 1000, 1) AS webhook_to_cpu_report_s,
  round((epoch_ms(incidents.ended_at) - epoch_ms(incidents.started_at)) / 1000, 0) AS lasted_s
FROM incidents LEFT JOIN timings USING (incident_id)
WHERE ($service IS NULL OR incidents.service_name = $service)
  AND incidents.started_at >= coalesce($since::TIMESTAMPTZ, now() - INTERVAL 30 DAY)
GROUP BY ALL ORDER BY onset DESC LIMIT 50
