-- name: trace_spans
SELECT * FROM trace($trace_id, since := $since, until := $until)

-- name: find_traces
-- One row per trace: the longest span of the service in it. An error anywhere in those spans makes the trace failed.
SELECT
  trace_id,
  arg_max(start_time, duration_ns) AS start_time,
  max(duration_ns) AS duration_ns,
  arg_max(name, duration_ns) AS root_name,
  any_value(service_name) AS service_name,
  bool_or(status_code = 'ERROR') AS error
FROM span
WHERE service_name = $service AND start_time >= $since AND start_time < $until
  AND ($route::VARCHAR IS NULL OR http_route = $route)
GROUP BY trace_id
HAVING ($min_duration_ns::BIGINT IS NULL OR max(duration_ns) >= $min_duration_ns)
  AND ($error::BOOLEAN IS NULL OR bool_or(status_code = 'ERROR') = $error)
ORDER BY duration_ns DESC, start_time DESC, trace_id
LIMIT $limit
