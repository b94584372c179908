-- name: known_bodies
SELECT body_id FROM received_body
WHERE received_at > $since AND body_id IN (SELECT unnest($body_ids::BIGINT[]))

-- name: oldest_body
SELECT min(received_at) FROM received_body

-- name: forget_bodies
DELETE FROM received_body WHERE received_at < $before

-- name: remember_bodies
INSERT INTO received_body (body_id, received_at) SELECT unnest($body_ids::BIGINT[]), $now
