-- name: failing-routes
-- question: Which routes fail more than an hour ago?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
WITH requests AS (
  SELECT
    service_name, coalesce(http_route, name) AS route,
    start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE AS is_now,
    status_code = 'ERROR' OR coalesce(http_response_status_code, 0) >= 500 AS failed
  FROM spans
  WHERE list_contains(['SERVER', 'CONSUMER'], kind) AND ($service IS NULL OR service_name = $service)
    AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 70 MINUTE
    AND start_time < coalesce($at::TIMESTAMPTZ, now())
    AND (start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
      OR start_time < coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 60 MINUTE)
)
SELECT
  service_name AS service, route, count(*) FILTER (is_now) AS requests,
  count(*) FILTER (is_now AND failed) AS failed,
  round(100 * count(*) FILTER (is_now AND failed) / nullif(count(*) FILTER (is_now), 0), 1) AS failed_percent,
  round(100 * count(*) FILTER (failed AND NOT is_now) / nullif(count(*) FILTER (NOT is_now), 0), 1)
    AS failed_percent_hour_ago
FROM requests GROUP BY service_name, route HAVING count(*) FILTER (is_now) > 0
ORDER BY failed_percent DESC, requests DESC, service, route LIMIT 20
