-- name: traffic
-- question: Did the traffic change?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
SELECT
  service_name AS service, time_bucket(INTERVAL 1 MINUTE, start_time) AS minute, count(*) AS requests,
  count(*) FILTER (status_code = 'ERROR') AS failed, round(p50(duration_ns) / 1e6, 1) AS p50_ms,
  round(p99(duration_ns) / 1e6, 1) AS p99_ms
FROM spans
WHERE list_contains(['SERVER', 'CONSUMER'], kind) AND ($service IS NULL OR service_name = $service)
  AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
  AND start_time < coalesce($at::TIMESTAMPTZ, now())
GROUP BY service_name, minute ORDER BY service, minute
