-- name: traces
-- The traces of the incident: how many spans are known of each, whether it ran beside a CPU profile of the incident, and
-- how many samples of it that holds.
WITH refs AS (
  SELECT trace_id FROM incident_traces WHERE incident_id = $incident
), known AS (
  SELECT
    trace_id, count(*) AS spans, min(start_time_unix_nano) AS starts, max(start_time_unix_nano + duration_ns) AS ends
  FROM spans WHERE trace_id IN (SELECT trace_id FROM refs) GROUP BY trace_id
), profiled AS (
  SELECT min(epoch_ns(started_at)) AS starts, max(epoch_ns(started_at) + duration_ns) AS ends
  FROM profiles WHERE profile_id IN (SELECT unnest($cpu))
), seen AS (
  SELECT trace_id, sum(observations) AS samples FROM profile_samples
  WHERE profile_id IN (SELECT unnest($cpu)) AND value_type = 'cpu' AND trace_id IS NOT NULL GROUP BY trace_id
)
SELECT
  count(*) AS traces, count(*) FILTER (known.spans IS NULL) AS without_spans,
  count(*) FILTER (seen.samples > 0) AS sampled,
  count(*) FILTER (seen.samples IS NULL AND known.ends < profiled.starts) AS ended_before,
  count(*) FILTER (seen.samples IS NULL AND known.starts > profiled.ends) AS began_after,
  count(*) FILTER (seen.samples IS NULL AND known.ends >= profiled.starts AND known.starts <= profiled.ends) AS beside
FROM refs LEFT JOIN known USING (trace_id) LEFT JOIN seen USING (trace_id), profiled;

-- name: labels
-- Samples of a profile, and how many of them carry a trace id.
SELECT coalesce(sum(observations), 0) AS samples, coalesce(sum(observations) FILTER (trace_id IS NOT NULL), 0) AS labelled
FROM profile_samples WHERE profile_id = $profile AND value_type = 'cpu' AND NOT is_profiler;
