-- name: refused-captures
-- question: Which captures were refused or failed, and why?
-- parameters:
--   service VARCHAR: only this service
--   since TIMESTAMPTZ: since when; thirty days ago when left out
SELECT
  service_name AS service, service_instance_id AS instance, kind, status, reason, http_status, count(*) AS times,
  max(requested_at) AS last_at
FROM captures
WHERE status IN ('refused', 'failed', 'skipped', 'lost') AND ($service IS NULL OR service_name = $service)
  AND requested_at >= coalesce($since::TIMESTAMPTZ, now() - INTERVAL 30 DAY)
GROUP BY ALL ORDER BY times DESC, last_at DESC, service, instance, kind LIMIT 30
