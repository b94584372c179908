-- name: hot-spans
-- question: Which spans own that CPU time?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), samples AS MATERIALIZED (
  SELECT profile_samples.span_id, sum(value) AS value, sum(observations) AS times
  FROM profile_samples JOIN captures USING (profile_id) JOIN chosen USING (incident_id)
  WHERE profile_samples.kind = 'cpu' AND value_type = 'cpu' AND NOT is_profiler GROUP BY profile_samples.span_id
), seen AS (
  SELECT span_id, trace_id, name
  FROM spans, chosen
  WHERE spans.start_time >= chosen.started_at - INTERVAL 1 HOUR
    AND spans.start_time < coalesce(chosen.ended_at, now()) + INTERVAL 1 HOUR
    AND span_id IN (SELECT span_id FROM samples)
)
SELECT
  CASE WHEN samples.span_id IS NULL THEN '(no span)' ELSE coalesce(seen.name, '(span not stored)') END AS span,
  count(DISTINCT seen.trace_id) AS traces, sum(times) AS samples, round(sum(value) / 1e6, 0) AS cpu_ms,
  round(100 * sum(value) / nullif(sum(sum(value)) OVER (), 0), 1) AS percent
FROM samples LEFT JOIN seen USING (span_id)
GROUP BY 1 ORDER BY cpu_ms DESC, span LIMIT 20
