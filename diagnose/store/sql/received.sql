-- name: remember_bodies
-- The answer is those that were not known yet.
INSERT INTO received_body (body_id, received_at)
SELECT asked.body_id, $now FROM (SELECT unnest($body_ids::BIGINT[]) AS body_id) AS asked
WHERE asked.body_id NOT IN (SELECT body_id FROM received_body WHERE received_at > $since)
RETURNING body_id

-- name: forget_bodies
DELETE FROM received_body WHERE received_at < $before
