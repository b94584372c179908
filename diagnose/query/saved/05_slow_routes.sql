-- name: slow-routes
-- question: Which routes are slower than an hour ago?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
WITH requests AS (
  SELECT
    service_name, coalesce(http_route, name) AS route, duration_ns,
    start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE AS is_now
  FROM spans
  WHERE list_contains(['SERVER', 'CONSUMER'], kind) AND ($service IS NULL OR service_name = $service)
    AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 70 MINUTE
    AND start_time < coalesce($at::TIMESTAMPTZ, now())
    AND (start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
      OR start_time < coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 60 MINUTE)
)
SELECT
  service_name AS service, route, count(*) FILTER (is_now) AS requests,
  round(p95(CASE WHEN is_now THEN duration_ns END) / 1e6, 1) AS p95_ms,
  round(p95(CASE WHEN NOT is_now THEN duration_ns END) / 1e6, 1) AS p95_ms_hour_ago,
  round(max(duration_ns) FILTER (is_now) / 1e6, 1) AS max_ms
FROM requests GROUP BY service_name, route HAVING count(*) FILTER (is_now) > 0
ORDER BY p95_ms DESC, service, route LIMIT 20
