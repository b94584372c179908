-- name: what-changed
-- question: What changed: a new build, a new version, a new process?
-- parameters:
--   service VARCHAR: only this service
--   since TIMESTAMPTZ: since when; a day ago when left out
WITH seen AS (
  SELECT service_name, 'build' AS what, build_id AS "value", service_instance_id, started_at AS seen_at
  FROM profiles WHERE build_id <> ''
  UNION ALL
  SELECT service_name, 'version', service_version, service_instance_id, first_seen
  FROM resource WHERE service_version <> ''
  UNION ALL
  SELECT service_name, 'process', service_instance_id, service_instance_id, first_seen
  FROM resource WHERE service_instance_id <> ''
)
SELECT
  service_name AS service, what, "value", min(seen_at) AS first_seen, count(DISTINCT service_instance_id) AS instances
FROM seen
WHERE $service IS NULL OR service_name = $service
GROUP BY service_name, what, "value" HAVING min(seen_at) >= coalesce($since::TIMESTAMPTZ, now() - INTERVAL 1 DAY)
ORDER BY first_seen DESC, service, what, "value" LIMIT 50
