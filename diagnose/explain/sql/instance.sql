-- name: slow
-- Requests of the route per instance during the incident, and how many took longer than 99 % of all did before.
SELECT
  service_instance_id AS instance, count(*) AS requests, count(*) FILTER (duration_ns > $p99_ns) AS slow
FROM spans
WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER') AND coalesce(http_route, name) = $route
  AND start_time >= $sick_since AND start_time < $sick_until
GROUP BY service_instance_id ORDER BY slow / requests DESC, instance;
