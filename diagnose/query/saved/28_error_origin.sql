-- name: error-origin
-- question: Where do the errors begin?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
WITH failed AS MATERIALIZED (
  SELECT trace_id, span_id, parent_span_id, service_name, name, error_type, status_message
  FROM spans
  WHERE status_code = 'ERROR'
    AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
    AND start_time < coalesce($at::TIMESTAMPTZ, now())
)
SELECT
  service_name AS service, name AS span, coalesce(error_type, '') AS error_type,
  coalesce(any_value(status_message ORDER BY status_message), '') AS message, count(*) AS errors,
  count(DISTINCT trace_id) AS traces, min(trace_id) AS example_trace
FROM failed
WHERE span_id NOT IN (SELECT parent_span_id FROM failed WHERE parent_span_id IS NOT NULL)
  AND ($service IS NULL OR service_name = $service)
GROUP BY service_name, name, error_type ORDER BY errors DESC, service, span LIMIT 20
