-- name: profiles
-- What the captures of the incident brought, differences of two snapshots included; in the order of time.
SELECT DISTINCT
  profiles.profile_id, profiles.service_name, profiles.service_instance_id AS instance, profiles.kind, profiles.basis,
  profiles.started_at, profiles.duration_ns, profiles.sample_count, profiles.build_id,
  captures."trigger", captures.phase
FROM profiles JOIN captures ON captures.capture_id = profiles.capture_id OR captures.profile_id = profiles.profile_id
WHERE captures.incident_id = $incident AND captures.status = 'done'
ORDER BY profiles.started_at, profiles.profile_id;

-- name: profile
SELECT
  profile_id, service_name, service_instance_id AS instance, kind, basis, started_at, duration_ns, sample_count,
  build_id, 'baseline' AS "trigger", 'first' AS phase
FROM profiles WHERE profile_id = $profile;

-- name: entries_before
-- How many requests of the service are known from just before the incident, by seconds before its start.
SELECT
  count(*) FILTER (start_time < $start - INTERVAL 60 SECOND) AS "60",
  count(*) FILTER (start_time < $start - INTERVAL 30 SECOND) AS "30",
  count(*) FILTER (start_time < $start - INTERVAL 10 SECOND) AS "10",
  count(*) AS "0"
FROM spans
WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER')
  AND start_time >= $start - INTERVAL 15 MINUTE AND start_time < $start;

-- name: origin
-- Where a function is and whose it is.
SELECT any_value(file ORDER BY function_no DESC) AS file, bool_or(is_own) AS is_own
FROM function WHERE name = $function;

-- name: hottest_line
-- The line of the function that most of the value passes through: the first of its frames from the leaf.
WITH chosen AS (
  SELECT profile_no, value_place(value_types, default_value, $value_type) AS place FROM profile WHERE profile_id = $profile
), weighed AS MATERIALIZED (
  SELECT stack_no, sum("values"[place]) AS value FROM sample JOIN chosen USING (profile_no) GROUP BY stack_no
), named AS (
  SELECT function_no FROM function WHERE name = $function
), placed AS MATERIALIZED (
  SELECT stack_no, value, frames FROM weighed JOIN stack USING (stack_no) WHERE own_no IN (SELECT function_no FROM named)
), along AS (
  SELECT stack_no, value, unnest(frames) AS frame_no, generate_subscripts(frames, 1) AS place FROM placed
), lines AS (
  SELECT stack_no, any_value(value) AS value, arg_min(frame.line, along.place) AS line
  FROM along JOIN frame USING (frame_no) WHERE frame.function_no IN (SELECT function_no FROM named) GROUP BY stack_no
)
SELECT line FROM lines GROUP BY line ORDER BY sum(value) DESC, line LIMIT 1;

-- name: spans_of_function
-- The spans that goroutines worked for while they were seen in a function, by how often.
WITH seen AS MATERIALIZED (
  SELECT trace_id, span_id, sum(observations) AS observations FROM profile_samples
  WHERE profile_id IN (SELECT unnest($profiles)) AND value_type IN ('cpu', 'wall', 'goroutine', 'goroutineleak')
    AND own_function = $function AND span_id IS NOT NULL
  GROUP BY trace_id, span_id
)
SELECT spans.service_name, spans.name, sum(seen.observations)::DOUBLE AS observations, count(DISTINCT seen.trace_id) AS traces
FROM seen JOIN spans USING (trace_id, span_id)
WHERE spans.start_time >= $since
GROUP BY spans.service_name, spans.name ORDER BY observations DESC, spans.name;
