-- name: exemplars
-- question: Which requests do the metrics point at?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  exemplars.metric_name, exemplars."time", round(exemplars.value, 4) AS value, exemplars.trace_id,
  count(spans.span_id) AS stored_spans
FROM exemplars JOIN chosen ON exemplars."time" >= chosen.started_at - INTERVAL 5 MINUTE
  AND exemplars."time" < coalesce(chosen.ended_at, now()) + INTERVAL 5 MINUTE
LEFT JOIN spans USING (trace_id)
WHERE exemplars.trace_id IS NOT NULL
GROUP BY ALL ORDER BY value DESC, exemplars.trace_id LIMIT 20
