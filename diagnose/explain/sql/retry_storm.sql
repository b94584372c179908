-- name: repeated_calls
-- Calls that requests of the service make, per name and what is called: how many per request before and during the
-- incident, how many of them fail, and in how many requests the same call failed at least $often times. At most 300
-- requests of each time, by chance: trace ids are random.
WITH sick AS (
  SELECT trace_id, span_id, service_instance_id FROM spans
  WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER')
    AND start_time >= $sick_since AND start_time < $sick_until
  ORDER BY trace_id LIMIT 300
), healthy AS (
  SELECT trace_id, span_id, service_instance_id FROM spans
  WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER')
    AND start_time >= $healthy_since AND start_time < $healthy_until
  ORDER BY trace_id LIMIT 300
), entries AS MATERIALIZED (
  SELECT true AS is_sick, trace_id FROM sick GROUP BY trace_id
  UNION ALL SELECT false, trace_id FROM healthy GROUP BY trace_id
), calls AS MATERIALIZED (
  SELECT DISTINCT ON (spans.trace_id, spans.span_id)
    entries.is_sick, spans.trace_id, spans.span_id, spans.name,
    coalesce(spans.attributes['peer.service'], spans.server_address, spans.db_system_name, '') AS peer,
    spans.status_code = 'ERROR' OR coalesce(spans.http_response_status_code, 0) >= 500 AS failed
  FROM spans JOIN entries USING (trace_id)
  WHERE spans.service_name = $service AND spans.kind IN ('CLIENT', 'PRODUCER')
    AND spans.start_time >= $healthy_since AND spans.start_time < $sick_until + INTERVAL 5 MINUTE
), callees AS (
  SELECT DISTINCT ON (calls.trace_id, calls.span_id) calls.trace_id, calls.span_id, spans.service_name AS callee
  FROM calls JOIN spans ON spans.trace_id = calls.trace_id AND spans.parent_span_id = calls.span_id
  WHERE spans.service_name <> $service
), per_request AS (
  SELECT
    calls.is_sick, calls.trace_id, calls.name, any_value(coalesce(callees.callee, calls.peer)) AS callee,
    count(*) AS calls, count(*) FILTER (calls.failed) AS failed
  FROM calls LEFT JOIN callees USING (trace_id, span_id) GROUP BY ALL
), requests AS (
  SELECT count(*) FILTER (is_sick) AS sick, count(*) FILTER (NOT is_sick) AS healthy FROM entries
)
SELECT
  per_request.name, any_value(per_request.callee ORDER BY per_request.is_sick DESC) AS callee,
  coalesce(sum(per_request.calls) FILTER (NOT is_sick), 0) / greatest(1, any_value(requests.healthy)) AS calls_before,
  coalesce(sum(per_request.calls) FILTER (is_sick), 0) / greatest(1, any_value(requests.sick)) AS calls_during,
  coalesce(sum(failed) FILTER (is_sick) / nullif(sum(per_request.calls) FILTER (is_sick), 0), 0) AS failed_share,
  count(*) FILTER (is_sick AND failed >= $often) AS storms,
  count(*) FILTER (NOT is_sick AND failed >= $often) AS storms_before,
  any_value(requests.sick) AS requests, any_value(requests.healthy) AS requests_before,
  coalesce(avg(failed) FILTER (is_sick AND failed >= $often), 0) AS times,
  coalesce(arg_max(trace_id, failed, 3) FILTER (is_sick), []) AS worst
FROM per_request, requests GROUP BY per_request.name
ORDER BY storms DESC, per_request.name;
