-- name: incidents
-- Of the $ids those that exist.
SELECT incident_id, group_id, status, title, service_name, severity, started_at, ended_at, merged_into
FROM incident WHERE incident_id IN (SELECT unnest($ids::VARCHAR[]));

-- name: move_episodes
UPDATE episode SET incident_id = $into WHERE incident_id = $taken;

-- name: move_captures
UPDATE capture SET incident_id = $into WHERE incident_id = $taken;

-- name: take_over
-- Those that were merged into it earlier follow.
UPDATE incident
SET merged_into = $into, status = 'resolved', ended_at = coalesce(ended_at, $at::TIMESTAMPTZ)
WHERE incident_id = $taken OR merged_into = $taken;

-- name: change_incident
UPDATE incident
SET status = $status, title = $title, severity = $severity, started_at = $started_at, ended_at = $ended_at
WHERE incident_id = $incident_id;

-- name: split_episodes
UPDATE episode SET incident_id = $into
WHERE incident_id = $taken AND episode_id IN (SELECT unnest($episodes::VARCHAR[]));

-- name: split_captures
-- What was captured of the service that now has an incident of its own.
UPDATE capture SET incident_id = $into
WHERE incident_id = $taken AND service_name = $service
  AND service_name <> (SELECT service_name FROM incident WHERE incident_id = $taken);

-- name: save_incident
INSERT INTO incident BY NAME
SELECT $incident_id AS incident_id, $group_id AS group_id, $status AS status, $title AS title,
    $service AS service_name, $severity AS severity, $started_at::TIMESTAMPTZ AS started_at,
    $ended_at::TIMESTAMPTZ AS ended_at, $opened_at::TIMESTAMPTZ AS opened_at, 0 AS revision;
