-- name: garbage-collection
-- question: Is it the garbage collector?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  captures.service_instance_id AS instance, captures.capture_id,
  round(sum(value) / 1e6, 0) AS cpu_ms,
  round(100 * sum(value) FILTER (list_has_any(functions, ['runtime.gcBgMarkWorker', 'runtime.gcAssistAlloc',
    'runtime.bgsweep', 'runtime.bgscavenge', 'runtime.gcStart'])) / nullif(sum(value), 0), 1) AS gc_percent,
  round(100 * sum(value) FILTER (list_contains(functions, 'runtime.mallocgc')) / nullif(sum(value), 0), 1)
    AS allocating_percent
FROM profile_samples JOIN captures USING (profile_id) JOIN chosen USING (incident_id)
WHERE profile_samples.kind = 'cpu' AND value_type = 'cpu' AND NOT is_profiler
GROUP BY captures.service_instance_id, captures.capture_id ORDER BY instance, captures.capture_id
