-- name: live_span
-- The rows of the live table in the form in which everybody else sees them.
SELECT * REPLACE (
  map_from_entries(attributes) AS attributes,
  list_transform(events, lambda each: struct_pack(
    "time" := each."time", "name" := each."name", attributes := map_from_entries(each.attributes))) AS events,
  list_transform(links, lambda each: struct_pack(
    trace_id := each.trace_id, span_id := each.span_id, attributes := map_from_entries(each.attributes))) AS links
)
FROM live_span

-- name: live_metric_point
SELECT * FROM live_metric_point

-- name: live_metric_histogram
SELECT * FROM live_metric_histogram

-- name: live_exemplar
SELECT * FROM live_exemplar

-- name: live_sample
SELECT * REPLACE (
  from_json(labels, '"MAP(VARCHAR, VARCHAR)"') AS labels, from_json(numbers, '"MAP(VARCHAR, BIGINT)"') AS numbers
)
FROM live_sample

-- name: add_segment
INSERT INTO telemetry.segment BY NAME
SELECT
  $file AS file, $table AS "table", $pinned AS pinned, $arrived_since AS arrived_since, $arrived_until AS arrived_until,
  $since AS since, $until AS until, $row_count AS row_count, $bytes AS bytes

-- name: remove_segments
DELETE FROM telemetry.segment WHERE file IN (SELECT unnest($files::VARCHAR[]))

-- name: all_segments
SELECT * FROM telemetry.segment ORDER BY arrived_until, file

-- name: segments_between
-- Files of a table with rows in [since, until].
SELECT file FROM telemetry.segment WHERE "table" = $table AND since <= $until AND until >= $since ORDER BY file

-- name: remember_traces
-- When the spans that are about to leave the live table started.
INSERT INTO telemetry.trace_time
SELECT trace_key(trace_id), min(start_time), max(start_time), $now FROM telemetry.live_span GROUP BY trace_id ORDER BY 1

-- name: time_of_trace
-- When the spans of a trace started, NULL when there is none; `parts` grows with every one that comes later.
SELECT min(since) AS since, max(until) AS until, count(*) AS parts
FROM (
  SELECT since, until FROM telemetry.trace_time WHERE trace_key = trace_key($trace_id)
  UNION ALL
  SELECT start_time, start_time FROM telemetry.live_span WHERE trace_id = $trace_id
)
