-- name: incident_span_services
-- Services in the traces of an incident.
SELECT DISTINCT service_name FROM memory.span WHERE trace_id IN (SELECT unnest($trace_ids::VARCHAR[]))

-- name: incident_scope
-- What decides which rows belong to an incident: its traces, its own service, and until when it is of interest: five
-- minutes after its end or after its last capture, whichever is later.
SELECT
  service_name AS service,
  coalesce((SELECT list(trace_id ORDER BY rank) FROM control.incident_trace WHERE incident_id = $incident_id), []) AS trace_ids,
  started_at - INTERVAL 15 MINUTE AS since,
  started_at - INTERVAL 1 HOUR AS metrics_since,
  started_at - INTERVAL 2 HOUR AS profiles_since,
  greatest(
    coalesce(ended_at, $now),
    (SELECT max(ended_at) FROM control.capture WHERE incident_id = $incident_id)
  ) + INTERVAL 5 MINUTE AS until
FROM control.incident WHERE incident_id = $incident_id

-- name: incident_profiles
-- What the incident's captures brought, the three newest healthy captures of each kind and instance before it, what its
-- findings name, and other profiles of these services since two hours before it, newest first.
SELECT profile_id FROM control.capture WHERE incident_id = $incident_id AND profile_id IS NOT NULL
UNION
(
  SELECT profile_id FROM control.capture
  WHERE trigger = 'baseline' AND profile_id IS NOT NULL AND requested_at < $until
    AND service_name IN (SELECT unnest($services::VARCHAR[]))
  QUALIFY row_number() OVER (
    PARTITION BY service_name, service_instance_id, kind, phase ORDER BY requested_at DESC
  ) <= 3
)
UNION
SELECT profile_id FROM telemetry.profile
WHERE EXISTS (
  SELECT 1 FROM (
    SELECT concat_ws(' ', sql, array_to_string(evidence, ' ')) AS text FROM control.finding WHERE incident_id = $incident_id
    UNION ALL
    SELECT sql FROM control.note WHERE incident_id = $incident_id
  ) AS written WHERE contains(written.text, profile.profile_id)
)
UNION
(
  SELECT profile_id FROM telemetry.profile
  WHERE service_name IN (SELECT unnest($services::VARCHAR[])) AND started_at BETWEEN $profiles_since AND $until
  ORDER BY started_at DESC LIMIT 500
)

-- name: trace_spans
INSERT INTO live_span
SELECT * REPLACE (
  map_entries(attributes) AS attributes,
  list_transform(events, lambda each: struct_pack(
    "time" := each."time", "name" := each."name", attributes := map_entries(each.attributes))) AS events,
  list_transform(links, lambda each: struct_pack(
    trace_id := each.trace_id, span_id := each.span_id, attributes := map_entries(each.attributes))) AS links
)
FROM memory.span
WHERE trace_id IN (SELECT unnest($trace_ids::VARCHAR[]))
ORDER BY start_time DESC LIMIT $max_spans

-- name: window_spans
-- The other spans of these services, newest first.
INSERT INTO live_span
SELECT * REPLACE (
  map_entries(attributes) AS attributes,
  list_transform(events, lambda each: struct_pack(
    "time" := each."time", "name" := each."name", attributes := map_entries(each.attributes))) AS events,
  list_transform(links, lambda each: struct_pack(
    trace_id := each.trace_id, span_id := each.span_id, attributes := map_entries(each.attributes))) AS links
)
FROM memory.span
WHERE service_name IN (SELECT unnest($services::VARCHAR[])) AND start_time BETWEEN $since AND $until
  AND trace_id NOT IN (SELECT unnest($trace_ids::VARCHAR[]))
ORDER BY start_time DESC LIMIT $max_spans

-- name: points
-- What was asked of Prometheus reaches back further than what is pushed: it is little.
INSERT INTO live_metric_point
SELECT point.* FROM memory.metric_point AS point
JOIN telemetry.metric_series AS series USING (series_id)
WHERE series.service_name IN (SELECT unnest($services::VARCHAR[])) AND point."time" <= $until
  AND point."time" >= CASE WHEN series.source = 'prometheus' THEN $metrics_since - INTERVAL 1 DAY ELSE $metrics_since END
ORDER BY point."time" DESC LIMIT $max_points

-- name: histograms
INSERT INTO live_metric_histogram
SELECT point.* FROM memory.metric_histogram AS point
JOIN telemetry.metric_series AS series USING (series_id)
WHERE series.service_name IN (SELECT unnest($services::VARCHAR[])) AND point."time" BETWEEN $metrics_since AND $until
ORDER BY point."time" DESC LIMIT $max_points

-- name: exemplars
INSERT INTO live_exemplar
SELECT example.* FROM memory.exemplar AS example
LEFT JOIN telemetry.metric_series AS series USING (series_id)
WHERE example.trace_id IN (SELECT unnest($trace_ids::VARCHAR[]))
  OR (series.service_name IN (SELECT unnest($services::VARCHAR[])) AND example."time" BETWEEN $since AND $until)
ORDER BY example."time" DESC LIMIT $max_points

-- name: series
INSERT INTO metric_series
SELECT * FROM telemetry.metric_series WHERE series_id IN (
  SELECT series_id FROM metric_point UNION SELECT series_id FROM metric_histogram UNION SELECT series_id FROM exemplar
)

-- name: resources
INSERT INTO resource
SELECT * FROM telemetry.resource WHERE resource_id IN (
  SELECT resource_id FROM span UNION SELECT resource_id FROM metric_series
)

-- name: profiles
INSERT INTO profile SELECT * FROM telemetry.profile WHERE profile_id IN (SELECT unnest($profile_ids::VARCHAR[]))

-- name: samples
INSERT INTO live_sample
SELECT * REPLACE (to_json(labels) AS labels, to_json(numbers) AS numbers) FROM memory.sample
WHERE profile_no IN (SELECT profile_no FROM profile)

-- name: weights
INSERT INTO weight SELECT * FROM telemetry.weight WHERE weight_no // 64 IN (SELECT profile_no FROM profile)

-- name: stacks
INSERT INTO stack SELECT * FROM telemetry.stack WHERE stack_no IN (SELECT stack_no FROM sample)

-- name: nodes
INSERT INTO node SELECT * FROM telemetry.node WHERE node_no IN (SELECT unnest(nodes) FROM stack)

-- name: frames
INSERT INTO frame SELECT * FROM telemetry.frame WHERE frame_no IN (SELECT unnest(frames) FROM stack)

-- name: functions
INSERT INTO function
SELECT * FROM telemetry.function WHERE function_no IN (
  SELECT function_no FROM node UNION SELECT function_no FROM frame UNION SELECT own_no FROM stack
)

-- name: captures
-- The incident's own, and those that brought another profile that is here.
INSERT INTO capture
SELECT * FROM control.capture
WHERE incident_id = $incident_id OR (incident_id IS NULL AND profile_id IN (SELECT unnest($profile_ids::VARCHAR[])))

-- name: builds
INSERT INTO build SELECT * FROM control.build WHERE service_name IN (SELECT unnest($services::VARCHAR[]))

-- name: episodes
INSERT INTO episode SELECT * FROM control.episode WHERE incident_id = $incident_id

-- name: alert_events
INSERT INTO alert_event
SELECT * FROM control.alert_event WHERE episode_id IN (SELECT episode_id FROM episode)

-- name: messages
INSERT INTO message SELECT * FROM control.message WHERE message_id IN (SELECT message_id FROM alert_event)
