-- What of each table belongs to one incident, in this order: later statements read from the tables before them, which
-- stand in the database {export} already. A table without a block is exported empty.

-- name: incident
SELECT * FROM incident WHERE incident_id = $incident_id

-- name: episode
SELECT * FROM episode WHERE incident_id = $incident_id

-- name: alert_event
SELECT * FROM alert_event WHERE episode_id IN (SELECT episode_id FROM {export}.episode)

-- name: message
SELECT * FROM message WHERE message_id IN (SELECT message_id FROM {export}.alert_event)

-- name: incident_trace
SELECT * FROM incident_trace WHERE incident_id = $incident_id

-- name: finding
SELECT * FROM finding WHERE incident_id = $incident_id

-- name: note
SELECT * FROM note WHERE incident_id = $incident_id

-- name: report
SELECT * FROM report WHERE incident_id = $incident_id

-- name: delivery
SELECT * FROM delivery WHERE incident_id = $incident_id

-- name: timeline_entry
SELECT * FROM timeline_entry WHERE incident_id = $incident_id

-- name: timing
SELECT * FROM timing WHERE incident_id = $incident_id

-- name: span
-- The spans of its traces, and those of all services in them around the incident: newest first, so that the healthy
-- time just before it is in.
WITH around AS (
  SELECT started_at - INTERVAL 15 MINUTE AS since, coalesce(ended_at, now()) + INTERVAL 1 MINUTE AS until, service_name
  FROM {export}.incident
), services AS (
  SELECT service_name FROM around
  UNION
  SELECT service_name FROM span WHERE trace_id IN (SELECT trace_id FROM {export}.incident_trace)
), chosen AS (
  SELECT span.* FROM span WHERE trace_id IN (SELECT trace_id FROM {export}.incident_trace)
  UNION
  SELECT span.* FROM span, around
  WHERE span.start_time BETWEEN around.since AND around.until AND span.service_name IN (SELECT service_name FROM services)
)
SELECT * FROM chosen ORDER BY start_time DESC LIMIT 200000

-- name: profile
-- What was captured for it, what its findings name, and what was captured of the same service in health before it.
SELECT * FROM profile
WHERE capture_id IN (SELECT capture_id FROM capture WHERE incident_id = $incident_id)
  OR profile_id IN (SELECT profile_id FROM capture WHERE incident_id = $incident_id)
  OR profile_id IN (SELECT unnest(evidence) FROM {export}.finding)
  OR (service_name IN (SELECT service_name FROM {export}.incident)
      AND started_at >= (SELECT started_at - INTERVAL 2 HOUR FROM {export}.incident)
      AND started_at <= (SELECT coalesce(ended_at, now()) + INTERVAL 5 MINUTE FROM {export}.incident))

-- name: capture
SELECT * FROM capture
WHERE incident_id = $incident_id OR capture_id IN (SELECT capture_id FROM {export}.profile)

-- name: sample
SELECT * FROM sample WHERE profile_no IN (SELECT profile_no FROM {export}.profile)

-- name: stack
SELECT * FROM stack WHERE stack_no IN (SELECT stack_no FROM {export}.sample)

-- name: node
SELECT * FROM node WHERE node_no IN (SELECT unnest(nodes) FROM {export}.stack)

-- name: frame
SELECT * FROM frame WHERE frame_no IN (SELECT unnest(frames) FROM {export}.stack)

-- name: function
SELECT * FROM function
WHERE function_no IN (SELECT function_no FROM {export}.node) OR function_no IN (SELECT function_no FROM {export}.frame)
  OR function_no IN (SELECT own_no FROM {export}.stack)

-- name: metric_series
SELECT * FROM metric_series
WHERE service_name IN (SELECT service_name FROM {export}.incident UNION SELECT service_name FROM {export}.span)

-- name: metric_point
SELECT metric_point.* FROM metric_point, {export}.incident
WHERE series_id IN (SELECT series_id FROM {export}.metric_series)
  AND "time" BETWEEN incident.started_at - INTERVAL 1 HOUR AND coalesce(incident.ended_at, now()) + INTERVAL 5 MINUTE

-- name: metric_histogram
SELECT metric_histogram.* FROM metric_histogram, {export}.incident
WHERE series_id IN (SELECT series_id FROM {export}.metric_series)
  AND "time" BETWEEN incident.started_at - INTERVAL 1 HOUR AND coalesce(incident.ended_at, now()) + INTERVAL 5 MINUTE

-- name: exemplar
SELECT exemplar.* FROM exemplar, {export}.incident
WHERE trace_id IN (SELECT trace_id FROM {export}.incident_trace)
  OR (series_id IN (SELECT series_id FROM {export}.metric_series)
      AND "time" BETWEEN incident.started_at - INTERVAL 15 MINUTE AND coalesce(incident.ended_at, now()) + INTERVAL 1 MINUTE)

-- name: resource
SELECT * FROM resource
WHERE resource_id IN (SELECT resource_id FROM {export}.span) OR resource_id IN (SELECT resource_id FROM {export}.metric_series)
