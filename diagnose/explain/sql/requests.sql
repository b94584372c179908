-- name: routes
-- Requests of the service per route, before and during the incident: durations, and how many of those during it took
-- longer than 99 % of those before (p99_ns, of the healthy window), with z of that share. The slowest traces are named.
WITH entries AS MATERIALIZED (
  SELECT coalesce(http_route, name) AS route, start_time >= $sick_since AS is_sick, trace_id, duration_ns
  FROM spans
  WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER')
    AND (start_time >= $healthy_since AND start_time < $healthy_until OR start_time >= $sick_since AND start_time < $sick_until)
), healthy AS (
  SELECT route, p99(duration_ns) AS p99_ns FROM entries WHERE NOT is_sick GROUP BY route
), counted AS (
  SELECT
    route, any_value(healthy.p99_ns) AS p99_ns,
    count(*) FILTER (NOT is_sick) AS before, count(*) FILTER (is_sick) AS during,
    count(*) FILTER (NOT is_sick AND duration_ns > healthy.p99_ns) AS slow_before,
    count(*) FILTER (is_sick AND duration_ns > healthy.p99_ns) AS slow_during,
    avg(duration_ns) FILTER (NOT is_sick) AS mean_before_ns, avg(duration_ns) FILTER (is_sick) AS mean_during_ns,
    arg_max(trace_id, duration_ns, 3) FILTER (is_sick) AS slowest
  FROM entries LEFT JOIN healthy USING (route) GROUP BY route
)
SELECT *, z_of_share(slow_before, slow_during, before, during) AS z
FROM counted
ORDER BY coalesce(mean_during_ns - mean_before_ns, 0) * during DESC, route;

-- name: parts
-- Where the added time of a request goes: own time (duration without what children cover) per span, mean per request of
-- the slow ones during the incident and of normal ones before it. At most 200 of each, by chance: trace ids are random.
WITH RECURSIVE slow AS (
  SELECT trace_id, span_id, service_instance_id FROM spans
  WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER') AND coalesce(http_route, name) = $route
    AND start_time >= $sick_since AND start_time < $sick_until AND duration_ns > $p99_ns
  ORDER BY trace_id LIMIT 200
), normal AS (
  SELECT trace_id, span_id, service_instance_id FROM spans
  WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER') AND coalesce(http_route, name) = $route
    AND start_time >= $healthy_since AND start_time < $healthy_until
  ORDER BY trace_id LIMIT 200
), entry AS MATERIALIZED (
  SELECT true AS is_slow, * FROM slow UNION ALL SELECT false, * FROM normal
), near AS MATERIALIZED (
  SELECT
    trace_id, span_id, parent_span_id, name, kind, service_name, service_instance_id, duration_ns,
    coalesce(attributes['peer.service'], server_address, db_system_name) AS peer, db_system_name,
    start_time_unix_nano AS starts, start_time_unix_nano + duration_ns AS ends
  FROM spans
  WHERE trace_id IN (SELECT trace_id FROM entry)
    AND start_time >= $healthy_since AND start_time < $sick_until + INTERVAL 5 MINUTE
  QUALIFY row_number() OVER (PARTITION BY trace_id, span_id ORDER BY duration_ns DESC) = 1
), tree AS (
  SELECT entry.is_slow, entry.span_id AS entry_id, near.* FROM entry JOIN near USING (trace_id, span_id)
  UNION ALL
  SELECT tree.is_slow, tree.entry_id, near.*
  FROM tree JOIN near ON near.trace_id = tree.trace_id AND near.parent_span_id = tree.span_id
  WHERE near.span_id <> tree.entry_id
), below AS (
  SELECT
    parent.entry_id, parent.span_id, greatest(child.starts, parent.starts) AS starts, least(child.ends, parent.ends) AS ends,
    child.service_name <> parent.service_name AS is_remote
  FROM tree AS parent JOIN tree AS child
    ON child.entry_id = parent.entry_id AND child.parent_span_id = parent.span_id AND child.trace_id = parent.trace_id
), gaps AS (
  SELECT
    entry_id, span_id, is_remote,
    greatest(0, ends - greatest(starts, coalesce(max(ends) OVER earlier, starts))) AS covered_ns
  FROM below
  WINDOW earlier AS (PARTITION BY entry_id, span_id ORDER BY starts, ends ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), covered AS (
  SELECT entry_id, span_id, sum(covered_ns) AS covered_ns, bool_or(is_remote) AS has_callee FROM gaps GROUP BY ALL
), own AS (
  SELECT
    tree.*, tree.duration_ns - coalesce(covered.covered_ns, 0) AS own_ns, coalesce(covered.has_callee, false) AS has_callee
  FROM tree LEFT JOIN covered USING (entry_id, span_id)
), requests AS (
  SELECT count(*) FILTER (is_slow) AS slow, count(*) FILTER (NOT is_slow) AS normal FROM entry
)
SELECT
  service_name, name, kind, bool_or(has_callee) AS has_callee, any_value(peer) AS peer, any_value(db_system_name) AS db_system,
  coalesce(sum(own_ns) FILTER (NOT is_slow) / nullif(any_value(normal), 0), 0) AS before_ns,
  coalesce(sum(own_ns) FILTER (is_slow) / nullif(any_value(slow), 0), 0) AS during_ns,
  coalesce(count(*) FILTER (NOT is_slow) / nullif(any_value(normal), 0), 0) AS calls_before,
  coalesce(count(*) FILTER (is_slow) / nullif(any_value(slow), 0), 0) AS calls_during,
  any_value(slow) AS slow, any_value(normal) AS normal
FROM own, requests
GROUP BY service_name, name, kind
ORDER BY during_ns - before_ns DESC, service_name, name;

-- name: instances
-- On which instances the slow requests were served.
SELECT
  service_instance_id AS instance, count(*) AS requests, count(*) FILTER (duration_ns > $p99_ns) AS slow
FROM spans
WHERE service_name = $service AND kind IN ('SERVER', 'CONSUMER') AND coalesce(http_route, name) = $route
  AND start_time >= $sick_since AND start_time < $sick_until
GROUP BY service_instance_id ORDER BY service_instance_id;
