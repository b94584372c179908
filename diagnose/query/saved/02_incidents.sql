-- name: incidents
-- question: Which incidents were there, and what caused them?
-- parameters:
--   service VARCHAR: only this service
SELECT incident_id, status, service_name, severity, started_at, ended_at, alert_count, title, top_finding
FROM incidents
WHERE $service IS NULL OR service_name = $service
ORDER BY started_at DESC LIMIT 50
