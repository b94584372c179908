-- name: keep_span
-- Conditions on a row of a file that is too old (named `old`): what incidents need of it.
old.trace_id IN (SELECT trace_id FROM control.incident_trace)

-- name: keep_exemplar
old.trace_id IN (SELECT trace_id FROM control.incident_trace)

-- name: keep_metric_point
-- From an hour before an incident to five minutes after it, of its service: what the report and its queries look at.
EXISTS (
  SELECT 1 FROM telemetry.metric_series AS series JOIN control.incident AS incident USING (service_name)
  WHERE series.series_id = old.series_id
    AND old."time" BETWEEN incident.started_at - INTERVAL 1 HOUR AND coalesce(incident.ended_at, now()) + INTERVAL 5 MINUTE
)

-- name: keep_metric_histogram
EXISTS (
  SELECT 1 FROM telemetry.metric_series AS series JOIN control.incident AS incident USING (service_name)
  WHERE series.series_id = old.series_id
    AND old."time" BETWEEN incident.started_at - INTERVAL 1 HOUR AND coalesce(incident.ended_at, now()) + INTERVAL 5 MINUTE
)

-- name: keep_sample
-- Of profiles that were taken for an incident or that a finding or a note names.
old.profile_no IN (
  SELECT profile_no FROM telemetry.profile JOIN control.capture USING (profile_id) WHERE capture.incident_id IS NOT NULL
)
OR old.profile_no IN (
  SELECT profile_no FROM telemetry.profile
  WHERE EXISTS (
    SELECT 1 FROM (
      SELECT concat_ws(' ', sql, array_to_string(evidence, ' ')) AS text FROM control.finding
      UNION ALL
      SELECT sql FROM control.note
    ) AS written WHERE contains(written.text, profile.profile_id)
  )
)

-- name: remove_profiles
-- Those whose samples went with their files.
DELETE FROM telemetry.profile
WHERE CASE WHEN sample_count > 0 THEN profile_no NOT IN (SELECT profile_no FROM sample) ELSE started_at < $before END

-- name: remove_baseline_profiles
DELETE FROM telemetry.profile WHERE profile_id IN (SELECT unnest($old::VARCHAR[]))

-- name: remove_weights
-- Those of profiles that are gone.
DELETE FROM telemetry.weight WHERE weight_no // 64 NOT IN (SELECT profile_no FROM telemetry.profile)

-- name: forget_traces
DELETE FROM telemetry.trace_time
WHERE moved_at < $before AND trace_key NOT IN (SELECT unnest($pinned_traces::BIGINT[]))

-- name: pinned_traces
SELECT DISTINCT trace_key(trace_id) AS trace_key FROM control.incident_trace

-- name: old_incidents
SELECT incident_id FROM control.incident WHERE ended_at < $before

-- name: remove_events
DELETE FROM control.alert_event WHERE episode_id IN (
  SELECT episode_id FROM control.episode
  WHERE incident_id IN (SELECT unnest($incidents::VARCHAR[])) OR (incident_id IS NULL AND ends_at < $before)
)

-- name: remove_unmatched_episodes
DELETE FROM control.episode WHERE incident_id IS NULL AND ends_at < $before

-- name: remove_messages
DELETE FROM control.message
WHERE received_at < $before AND message_id NOT IN (SELECT message_id FROM control.alert_event)

-- name: remove_baselines
-- Captures without an incident, when what they brought is gone; $profiles are those that are not.
DELETE FROM control.capture
WHERE incident_id IS NULL AND requested_at < $before
  AND (profile_id IS NULL OR profile_id NOT IN (SELECT unnest($profiles::VARCHAR[])))

-- name: remove_queries
DELETE FROM control.sql_audit WHERE "at" < $before

-- name: tables_of_incidents
SELECT table_name FROM duckdb_columns() WHERE database_name = 'control' AND column_name = 'incident_id' AND NOT internal
  AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE database_name = 'control')
ORDER BY table_name

-- name: all_profiles
SELECT profile_id FROM telemetry.profile

-- name: all_bodies
SELECT sha256 FROM telemetry.profile
