-- name: failures
-- Requests of the service and how many of them failed, before and during the incident, with z of the change.
WITH entries AS (
  SELECT
    start_time >= $sick_since AS is_sick,
    status_code = 'ERROR' OR coalesce(http_response_status_code, 0) >= 500 AS failed
  FROM spans
  WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER')
    AND (start_time >= $healthy_since AND start_time < $healthy_until OR start_time >= $sick_since AND start_time < $sick_until)
), counted AS (
  SELECT
    count(*) FILTER (NOT is_sick) AS before, count(*) FILTER (is_sick) AS during,
    count(*) FILTER (NOT is_sick AND failed) AS failed_before, count(*) FILTER (is_sick AND failed) AS failed_during
  FROM entries
)
SELECT *, z_of_share(failed_before, failed_during, before, during) AS z FROM counted;

-- name: origins
-- Where failed requests fail: below each of them the spans with an error that have no failed span below themselves. At
-- most 200 requests, by chance: trace ids are random.
WITH RECURSIVE failed AS MATERIALIZED (
  SELECT trace_id, span_id FROM spans
  WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER')
    AND start_time >= $sick_since AND start_time < $sick_until
    AND (status_code = 'ERROR' OR coalesce(http_response_status_code, 0) >= 500)
  ORDER BY trace_id LIMIT 200
), near AS MATERIALIZED (
  SELECT
    trace_id, span_id, parent_span_id, name, kind, service_name, status_message,
    status_code = 'ERROR' OR (kind = 'SERVER' AND coalesce(http_response_status_code, 0) >= 500) AS is_error
  FROM spans
  WHERE trace_id IN (SELECT trace_id FROM failed)
    AND start_time >= $sick_since - INTERVAL 1 MINUTE AND start_time < $sick_until + INTERVAL 5 MINUTE
  QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY duration_ns DESC) = 1
), tree AS (
  SELECT failed.span_id AS entry_id, near.* FROM failed JOIN near USING (trace_id, span_id)
  UNION ALL
  SELECT tree.entry_id, near.*
  FROM tree JOIN near ON near.trace_id = tree.trace_id AND near.parent_span_id = tree.span_id
  WHERE near.span_id <> tree.entry_id
), deepest AS (
  SELECT * FROM tree
  WHERE is_error AND NOT EXISTS (
    SELECT 1 FROM tree AS child WHERE child.entry_id = tree.entry_id AND child.parent_span_id = tree.span_id AND child.is_error
  )
)
SELECT
  service_name, name, kind, count(DISTINCT entry_id) AS requests, (SELECT count(*) FROM failed) AS of_requests,
  mode(status_message) AS message, min(trace_id) AS trace_id
FROM deepest GROUP BY service_name, name, kind
ORDER BY requests DESC, service_name, name;

-- name: attributes
-- What distinguishes the failed spans of this name from the others: per attribute value how many of each have it, and
-- z of the difference. Values that name one request only (ids, ports) are not looked at.
WITH judged AS MATERIALIZED (
  SELECT status_code = 'ERROR' OR coalesce(http_response_status_code, 0) >= 500 AS failed, attributes
  FROM spans
  WHERE service_name = $origin_service AND name = $origin_name
    AND start_time >= $sick_since AND start_time < $sick_until
), totals AS (
  SELECT count(*) FILTER (failed) AS failed, count(*) FILTER (NOT failed) AS fine FROM judged
), entries AS (
  SELECT failed, unnest(map_entries(attributes)) AS entry FROM judged
), counted AS (
  SELECT
    entry."key" AS "key", entry."value" AS "value",
    count(*) FILTER (failed) AS failed_with, count(*) FILTER (NOT failed) AS fine_with
  FROM entries GROUP BY 1, 2 HAVING count(*) FILTER (failed) >= 3
)
SELECT
  "key", "value", failed_with, fine_with, totals.failed, totals.fine,
  z_of_share(fine_with, failed_with, totals.fine, totals.failed) AS z
FROM counted, totals
ORDER BY z DESC, "key", "value";
