-- name: what-is-stored
-- question: What data is there, and how old is it?
-- parameters:
--   at TIMESTAMPTZ: the end of the hour looked at; now when left out
WITH moment AS (
  SELECT coalesce($at::TIMESTAMPTZ, now()) AS moment_at
)
SELECT 'spans' AS what, service_name AS service, count(*) AS rows, min(start_time) AS oldest, max(start_time) AS newest
FROM spans, moment WHERE start_time >= moment_at - INTERVAL 1 HOUR AND start_time < moment_at GROUP BY service_name
UNION ALL
SELECT 'metrics', service_name, count(*), min("time"), max("time")
FROM metrics, moment WHERE "time" >= moment_at - INTERVAL 1 HOUR AND "time" < moment_at GROUP BY service_name
UNION ALL
SELECT 'profiles', service_name, count(*), min(started_at), max(started_at)
FROM profiles, moment WHERE started_at >= moment_at - INTERVAL 1 HOUR AND started_at < moment_at GROUP BY service_name
ORDER BY what, service
