-- name: slow-dependencies
-- question: Which dependency became slow or fails?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
WITH calls AS (
  SELECT
    service_name, coalesce(attributes['peer.service'], db_system_name, server_address, '') AS dependency, name,
    duration_ns, status_code, start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE AS is_now
  FROM spans
  WHERE list_contains(['CLIENT', 'PRODUCER'], kind) AND ($service IS NULL OR service_name = $service)
    AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 70 MINUTE
    AND start_time < coalesce($at::TIMESTAMPTZ, now())
    AND (start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
      OR start_time < coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 60 MINUTE)
)
SELECT
  service_name AS service, dependency, name AS call, count(*) FILTER (is_now) AS calls,
  round(p95(CASE WHEN is_now THEN duration_ns END) / 1e6, 1) AS p95_ms,
  round(p95(CASE WHEN NOT is_now THEN duration_ns END) / 1e6, 1) AS p95_ms_hour_ago,
  count(*) FILTER (is_now AND status_code = 'ERROR') AS errors
FROM calls GROUP BY service_name, dependency, name HAVING count(*) FILTER (is_now) > 0
ORDER BY p95_ms DESC, service, dependency, call LIMIT 20
