-- name: known_body
-- Whether the body came since $since, and how old the oldest entry is.
SELECT count(*) FILTER (body_id = $body_id AND received_at > $since), min(received_at) FROM received_body

-- name: forget_bodies
DELETE FROM received_body WHERE received_at < $before

-- name: remember_body
INSERT INTO received_body (body_id, received_at) VALUES ($body_id, $now)
