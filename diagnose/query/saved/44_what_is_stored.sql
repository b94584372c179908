-- name: what-is-stored
-- question: What data is there, and how old is it?
-- parameters:
--   at TIMESTAMPTZ: the end of the hour looked at; now when left out
SELECT 'spans' AS what, service_name AS service, count(*) AS rows, min(start_time) AS oldest, max(start_time) AS newest
FROM spans
WHERE start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 1 HOUR AND start_time < coalesce($at::TIMESTAMPTZ, now())
GROUP BY service_name
UNION ALL
SELECT 'metrics', service_name, count(*), min("time"), max("time")
FROM metrics
WHERE "time" >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 1 HOUR AND "time" < coalesce($at::TIMESTAMPTZ, now())
GROUP BY service_name
UNION ALL
SELECT 'profiles', service_name, count(*), min(started_at), max(started_at)
FROM profiles
WHERE started_at >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 1 HOUR AND started_at < coalesce($at::TIMESTAMPTZ, now())
GROUP BY service_name
ORDER BY what, service
