-- name: capture-cost
-- question: What did profiling cost the targets?
-- parameters:
--   service VARCHAR: only this service
--   since TIMESTAMPTZ: since when; thirty days ago when left out
SELECT
  service_name AS service, service_instance_id AS instance, kind, count(*) AS captures,
  count(*) FILTER (status = 'done') AS done,
  round(sum(epoch_ms(ended_at) - epoch_ms(started_at)) / 1000, 1) AS busy_s, round(sum(bytes) / 1024, 1) AS kib,
  count(DISTINCT incident_id) AS incidents
FROM captures
WHERE ($service IS NULL OR service_name = $service)
  AND requested_at >= coalesce($since::TIMESTAMPTZ, now() - INTERVAL 30 DAY)
GROUP BY service_name, service_instance_id, kind ORDER BY busy_s DESC NULLS LAST, service, instance, kind LIMIT 50
