-- name: chosen
-- The profiles of a selection, oldest first: either the one with this id, or all that match. NULL asks for nothing.
-- One row for each kind, set of value types and default among them, the one of the newest profile first.
WITH found AS (
  SELECT profile_id, kind, service_name, duration_ns, started_at, value_types, default_value FROM profile
  WHERE CASE WHEN $profile_id::VARCHAR IS NOT NULL THEN profile_id = $profile_id ELSE
    service_name = $service AND ($instance::VARCHAR IS NULL OR service_instance_id = $instance)
    AND ($kind::VARCHAR IS NULL OR kind = $kind)
    AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since) AND ($until::TIMESTAMPTZ IS NULL OR started_at < $until)
    AND list_has_all(map_entries(labels), map_entries($labels::MAP(VARCHAR, VARCHAR))) END
  LIMIT $limit
)
SELECT
  kind, max_by(service_name, started_at) AS service_name, list(profile_id ORDER BY started_at, profile_id) AS profile_ids,
  sum(duration_ns)::BIGINT AS duration_ns, list_transform(value_types, lambda each: each."type") AS types,
  list_transform(value_types, lambda each: each.unit) AS units, default_value
FROM found GROUP BY kind, value_types, default_value ORDER BY max(started_at) DESC

-- name: flame
-- Nodes of at least $smallest of the total, callers first.
WITH tree AS MATERIALIZED (
  FROM merged_flamegraph(
    from_json($profile_ids, '["VARCHAR"]'), $value_type, trace_id := $trace_id, span_id := $span_id,
    labels := $labels::MAP(VARCHAR, VARCHAR), focus := $focus)
)
SELECT node_no, parent_no, function, file, is_runtime, is_own, total, self FROM tree
WHERE abs(total) >= $smallest * (SELECT abs(total) FROM tree WHERE depth = 0)
ORDER BY depth, total DESC, node_no

-- name: flame_of_lines
-- The same by function and line.
WITH tree AS MATERIALIZED (
  FROM merged_line_flamegraph(
    from_json($profile_ids, '["VARCHAR"]'), $value_type, trace_id := $trace_id, span_id := $span_id,
    labels := $labels::MAP(VARCHAR, VARCHAR), focus := $focus)
)
SELECT node_no, parent_no, function, file, is_runtime, is_own, total, self FROM tree
WHERE abs(total) >= $smallest * (SELECT abs(total) FROM tree WHERE depth = 0)
ORDER BY depth, total DESC, node_no

-- name: flame_diff
-- Nodes of at least $smallest of the total on either side, callers first.
WITH tree AS MATERIALIZED (
  FROM merged_flamegraph_diff(
    from_json($base_ids, '["VARCHAR"]'), from_json($profile_ids, '["VARCHAR"]'), $value_type, trace_id := $trace_id,
    span_id := $span_id, labels := $labels::MAP(VARCHAR, VARCHAR), focus := $focus)
)
SELECT node_no, parent_no, function, file, is_runtime, is_own, total, self, base_total, base_self FROM tree
WHERE abs(total) >= $smallest * (SELECT abs(total) FROM tree WHERE depth = 0)
  OR abs(base_total) >= $smallest * (SELECT abs(base_total) FROM tree WHERE depth = 0)
ORDER BY depth, total DESC, node_no

-- name: top
SELECT function, file, flat, cum FROM merged_top_functions(
  from_json($profile_ids, '["VARCHAR"]'), $value_type, trace_id := $trace_id, span_id := $span_id,
  labels := $labels::MAP(VARCHAR, VARCHAR), focus := $focus)

-- name: total
SELECT coalesce(sum(value), 0)::BIGINT AS total FROM profile_weights(
  from_json($profile_ids, '["VARCHAR"]'), $value_type, trace_id := $trace_id, span_id := $span_id,
  labels := $labels::MAP(VARCHAR, VARCHAR), focus := $focus)

-- name: sides
SELECT * FROM function_sides(
  from_json($base_ids, '["VARCHAR"]'), from_json($profile_ids, '["VARCHAR"]'), $value_type, trace_id := $trace_id,
  span_id := $span_id, labels := $labels::MAP(VARCHAR, VARCHAR), focus := $focus)
