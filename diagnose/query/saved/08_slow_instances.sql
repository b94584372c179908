-- name: slow-instances
-- question: Is it one instance?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
SELECT
  service_name AS service, service_instance_id AS instance, count(*) AS requests,
  round(p50(duration_ns) / 1e6, 1) AS p50_ms, round(p95(duration_ns) / 1e6, 1) AS p95_ms,
  round(100 * count(*) FILTER (status_code = 'ERROR') / count(*), 1) AS failed_percent
FROM spans
WHERE list_contains(['SERVER', 'CONSUMER'], kind) AND ($service IS NULL OR service_name = $service)
  AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
  AND start_time < coalesce($at::TIMESTAMPTZ, now())
GROUP BY service_name, service_instance_id ORDER BY p95_ms DESC, service, instance LIMIT 30
