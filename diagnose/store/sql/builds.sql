-- name: last_build
-- What the instance ran when it was looked at last.
SELECT service_name, service_instance_id, build_id, first_seen, last_seen FROM build
WHERE service_name = $service AND service_instance_id = $instance ORDER BY last_seen DESC, first_seen DESC LIMIT 1;

-- name: renew_build
-- Answers the row if the newest one of the instance is of this build.
UPDATE build SET last_seen = greatest(last_seen, $at)
WHERE service_name = $service AND service_instance_id = $instance AND build_id = $build
  AND first_seen = (
    SELECT max(newest.first_seen) FROM build AS newest
    WHERE newest.service_name = $service AND newest.service_instance_id = $instance
  )
RETURNING build_id;

-- name: new_build
INSERT INTO build VALUES ($service, $instance, $build, $at, $at);

-- name: builds_of
SELECT service_name, service_instance_id, build_id, first_seen, last_seen FROM build
WHERE service_name = $service ORDER BY first_seen, service_instance_id;
