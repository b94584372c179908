-- name: span-time
-- question: Which span eats the time?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), once AS MATERIALIZED (
  SELECT DISTINCT ON (trace_id, span_id) spans.*
  FROM spans JOIN incident_traces USING (trace_id) JOIN chosen USING (incident_id)
  WHERE spans.start_time >= chosen.started_at - INTERVAL 1 HOUR
    AND spans.start_time < coalesce(chosen.ended_at, now()) + INTERVAL 1 HOUR
), below AS (
  SELECT trace_id, parent_span_id AS span_id, sum(duration_ns) AS children_ns
  FROM once WHERE parent_span_id IS NOT NULL GROUP BY ALL
), own AS (
  SELECT once.*, greatest(duration_ns - coalesce(children_ns, 0), 0) AS self_ns
  FROM once LEFT JOIN below USING (trace_id, span_id)
)
SELECT
  service_name AS service, name AS span, count(*) AS spans, round(sum(self_ns) / 1e6, 1) AS self_ms,
  round(100 * sum(self_ns) / nullif(sum(sum(self_ns)) OVER (), 0), 1) AS percent,
  round(p95(duration_ns) / 1e6, 1) AS p95_ms
FROM own GROUP BY service_name, name ORDER BY self_ms DESC, service, span LIMIT 20
