-- name: spans_of_traces
-- All spans of the given traces, parents mostly before children.
SELECT trace_id, span_id, parent_span_id, name, kind, service_name, service_instance_id, start_time,
    start_time_unix_nano, duration_ns, status_code
FROM span
WHERE start_time >= $since AND trace_id IN (SELECT unnest($trace_ids::VARCHAR[]))
ORDER BY trace_id, start_time_unix_nano, duration_ns DESC, span_id
LIMIT 20000;

-- name: normal_trace
-- Of the traces of one service in [since, until) that did not fail, the one whose duration is nearest to the median.
WITH healthy AS (
    SELECT trace_id, max(duration_ns) AS duration_ns
    FROM span
    WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER') AND start_time >= $since AND start_time < $until
      AND ($route::VARCHAR IS NULL OR http_route = $route)
      AND trace_id NOT IN (SELECT unnest($trace_ids::VARCHAR[]))
    GROUP BY trace_id
    HAVING NOT bool_or(status_code = 'ERROR')
)
SELECT trace_id FROM healthy
ORDER BY abs(duration_ns - (SELECT quantile_cont(duration_ns, 0.5) FROM healthy)), trace_id
LIMIT 1;

-- name: cpu_of_traces
-- What the given profiles hold of the given traces; cpu_ns and samples per trace and profile.
SELECT sample.trace_id, profile.profile_id, sum(sample."values"[profile.default_value])::BIGINT AS cpu_ns,
    round(sum(sample.observations[profile.default_value]))::BIGINT AS samples
FROM sample JOIN profile USING (profile_no)
WHERE profile.profile_id IN (SELECT unnest($profile_ids::VARCHAR[]))
  AND sample.trace_id IN (SELECT unnest($trace_ids::VARCHAR[]))
GROUP BY sample.trace_id, profile.profile_id;

-- name: profiles
-- Head and sums of the given profiles in their default value; the profiler's own work is left out.
SELECT profile.profile_id, any_value(profile.service_instance_id) AS instance, any_value(profile.kind) AS kind,
    any_value(profile.basis) AS basis, any_value(profile.started_at) AS started_at,
    any_value(profile.duration_ns) AS duration_ns, any_value(profile.build_id) AS build_id,
    any_value(profile.value_types[profile.default_value]."type") AS value_type,
    any_value(profile.value_types[profile.default_value].unit) AS unit, any_value(profile.bytes) AS bytes,
    coalesce(sum(sample."values"[profile.default_value]), 0)::BIGINT AS total,
    coalesce(round(sum(sample.observations[profile.default_value])), 0)::BIGINT AS samples,
    coalesce(sum(sample."values"[profile.default_value]) FILTER (sample.trace_id IS NOT NULL), 0)::BIGINT AS labelled
FROM profile
LEFT JOIN (SELECT sample.* FROM sample JOIN stack USING (stack_no) WHERE NOT stack.is_profiler) AS sample
    USING (profile_no)
WHERE profile.profile_id IN (SELECT unnest($profile_ids::VARCHAR[]))
GROUP BY profile.profile_id
ORDER BY profile.profile_id;

-- name: instances
-- Requests that the instances of one service served, before and during the incident.
SELECT service_instance_id AS instance,
    count(*) FILTER (start_time >= $started_at) AS requests,
    count(*) FILTER (start_time >= $started_at AND status_code = 'ERROR') AS errors,
    quantile_cont(duration_ns, 0.99) FILTER (start_time < $started_at)::BIGINT AS p99_before_ns,
    quantile_cont(duration_ns, 0.99) FILTER (start_time >= $started_at)::BIGINT AS p99_during_ns
FROM span
WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER') AND start_time >= $since AND start_time < $until
GROUP BY service_instance_id
ORDER BY service_instance_id;

-- name: latency_series
-- p99 in seconds of the requests one service served, per step of $step_s seconds.
SELECT time_bucket(to_seconds($step_s), start_time) AS "at", quantile_cont(duration_ns, 0.99) / 1e9 AS p99_s
FROM span
WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER') AND start_time >= $since AND start_time < $until
  AND ($route::VARCHAR IS NULL OR http_route = $route)
GROUP BY "at"
ORDER BY "at";

-- name: first_named
-- When a report first had this cause on top; NULL if none had.
SELECT min(report.created_at) AS "at"
FROM finding JOIN report USING (incident_id, revision)
WHERE incident_id = $incident_id AND finding.rank = 1 AND finding.kind = $kind AND finding.subject."name" = $subject;
