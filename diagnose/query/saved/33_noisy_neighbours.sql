-- name: noisy-neighbours
-- question: Who else used the CPU of the same process?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), samples AS MATERIALIZED (
  SELECT profile_samples.trace_id, profile_samples.labels, own_function, sum(value) AS value
  FROM profile_samples JOIN captures USING (profile_id) JOIN chosen USING (incident_id)
  WHERE profile_samples.kind = 'cpu' AND value_type = 'cpu' AND NOT is_profiler GROUP BY ALL
), named AS (
  SELECT
    coalesce(labels['http.route'], labels['route'], labels['span_name'],
      CASE WHEN trace_id IS NULL THEN '(no request)' ELSE '(unnamed request)' END) AS work,
    trace_id IN (SELECT trace_id FROM incident_traces JOIN chosen USING (incident_id)) AS is_evidence, own_function, value
  FROM samples
)
SELECT
  work, round(sum(value) / 1e6, 0) AS cpu_ms, round(100 * sum(value) / nullif(sum(sum(value)) OVER (), 0), 1) AS percent,
  round(sum(value) FILTER (is_evidence) / 1e6, 0) AS of_the_incident_ms,
  arg_max(own_function, value ORDER BY value DESC, own_function) AS mostly_in
FROM named GROUP BY work ORDER BY cpu_ms DESC, work LIMIT 20
