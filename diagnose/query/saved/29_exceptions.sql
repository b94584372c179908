-- name: exceptions
-- question: Which exceptions were recorded?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
WITH happened AS (
  SELECT service_name, name, trace_id, unnest(events) AS event
  FROM spans
  WHERE len(events) > 0
    AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
    AND start_time < coalesce($at::TIMESTAMPTZ, now())
    AND ($service IS NULL OR service_name = $service)
)
SELECT
  service_name AS service, name AS span, coalesce(event.attributes['exception.type'], '') AS exception,
  left(coalesce(event.attributes['exception.message'], ''), 100) AS message, count(*) AS times,
  min(trace_id) AS example_trace
FROM happened WHERE event."name" = 'exception'
GROUP BY 1, 2, 3, 4 ORDER BY times DESC, service, span, message LIMIT 20
