-- name: an_hour
-- Spans of the template with other ids, of 20 services, four of which meet in a trace, spread over an hour.
CREATE OR REPLACE TEMP TABLE an_hour AS
WITH copied AS (
  SELECT template.*, copy, row_number() OVER () AS place
  FROM range(($row_count // 200000 + 1)::BIGINT) AS copies(copy), read_parquet($template) AS template LIMIT $row_count
)
SELECT * EXCLUDE (copy, place) REPLACE (
  md5(trace_id || $salt || copy) AS trace_id,
  left(md5(span_id || $salt || copy), 16) AS span_id,
  left(md5(parent_span_id || $salt || copy), 16) AS parent_span_id,
  'service-' || ((hash(trace_id) + hash(span_id) % 4) % 20) AS service_name,
  $at::TIMESTAMPTZ + to_microseconds(3600000000 * place // $row_count) AS start_time,
  epoch_ns($at::TIMESTAMPTZ) + 3600000000000 // $row_count * place AS start_time_unix_nano
)
FROM copied

-- name: remember
INSERT INTO telemetry.trace_time
SELECT trace_key(trace_id), min(start_time), max(start_time), $now FROM read_parquet($file) GROUP BY trace_id ORDER BY 1

-- name: some_span
-- One in the middle of some time.
SELECT trace_id, service_name, attributes['enduser.id'] AS user FROM spans
WHERE start_time >= $since AND start_time < $until ORDER BY span_id LIMIT 1

-- name: some_traces
SELECT DISTINCT trace_id FROM spans WHERE start_time >= $since AND start_time < $until ORDER BY trace_id LIMIT $count

-- name: count
SELECT count(*) AS n FROM spans WHERE start_time >= $since AND start_time < $until

-- name: rows_of_trace
SELECT * FROM span WHERE trace_id = $id AND start_time >= $since AND start_time < $until

-- name: trace
SELECT * FROM trace($id)

-- name: rare
SELECT trace_id, span_id FROM spans
WHERE service_name = $service AND attributes['enduser.id'] = $user AND start_time >= $since AND start_time < $until

-- name: p99
SELECT p99(duration_ns) FROM spans WHERE service_name = $service AND start_time >= $since AND start_time < $until

-- name: p99_of_all
SELECT service_name, p99(duration_ns) FROM spans GROUP BY service_name

-- name: search
SELECT span_id FROM spans WHERE service_name = $service_name AND start_time = $start_time AND trace_id = $trace_id
