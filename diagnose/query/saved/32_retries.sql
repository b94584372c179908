-- name: retries
-- question: Who retries, and does it help?
-- parameters:
--   service VARCHAR: only this service
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
WITH calls AS (
  SELECT
    trace_id, parent_span_id, service_name, name, status_code, start_time_unix_nano, duration_ns,
    row_number() OVER attempts AS attempt, lag(status_code) OVER attempts AS before_it
  FROM spans
  WHERE list_contains(['CLIENT', 'PRODUCER'], kind) AND parent_span_id IS NOT NULL AND ($service IS NULL OR service_name = $service)
    AND start_time >= coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE
    AND start_time < coalesce($at::TIMESTAMPTZ, now())
  WINDOW attempts AS (PARTITION BY trace_id, parent_span_id, service_name, name ORDER BY start_time_unix_nano, span_id)
)
SELECT
  service_name AS service, name AS call, count(*) FILTER (attempt = 1) AS calls,
  count(*) FILTER (before_it = 'ERROR') AS retries,
  count(*) FILTER (before_it = 'ERROR' AND status_code <> 'ERROR') AS helped, max(attempt) AS most_attempts,
  round(sum(duration_ns) FILTER (before_it = 'ERROR') / 1e6, 1) AS retry_ms
FROM calls GROUP BY service_name, name HAVING count(*) FILTER (before_it = 'ERROR') > 0
ORDER BY retries DESC, service, call LIMIT 20
