-- name: next_revision
SELECT coalesce(max(revision), 0) + 1 AS revision FROM report WHERE incident_id = $incident_id;

-- name: has_revision
SELECT 1 FROM report WHERE incident_id = $incident_id AND revision = $revision;

-- name: publish_revision
-- Answers the incident if there is one.
UPDATE incident SET revision = greatest(revision, $revision), title = coalesce($title, title)
WHERE incident_id = $incident_id RETURNING incident_id;

-- name: get_report
-- The newest revision, or the one asked for.
SELECT revision, created_at, reason, html, markdown, json FROM report
WHERE incident_id = $incident_id AND ($revision IS NULL OR revision = $revision)
ORDER BY revision DESC LIMIT 1;

-- name: findings_of
-- The findings of one revision, of the incident's newest if it is NULL, best first.
SELECT kind, statement, subject, effect, significance, confidence, evidence, sql, weight, rank FROM finding
WHERE incident_id = $incident_id
  AND revision = coalesce($revision, (SELECT revision FROM incident WHERE incident_id = $incident_id))
ORDER BY rank;

-- name: notes_of
SELECT statement, fix, sql FROM note
WHERE incident_id = $incident_id AND kind = $kind
  AND revision = coalesce($revision, (SELECT revision FROM incident WHERE incident_id = $incident_id))
ORDER BY rank;

-- name: due_deliveries
-- What should be tried now, longest waiting first. A later revision waits for the earlier ones of its sink, so that an
-- old page never replaces a new one. The reference is that of what the sink has of this incident already.
SELECT delivery_id, incident_id, revision, sink, attempts, created_at,
    coalesce(external_ref, (
        SELECT arg_max(sent.external_ref, sent.revision) FROM delivery AS sent
        WHERE sent.incident_id = delivery.incident_id AND sent.sink = delivery.sink AND sent.status = 'delivered'
    )) AS external_ref
FROM delivery
WHERE status = 'pending' AND (next_attempt_at IS NULL OR next_attempt_at <= $now)
  AND NOT EXISTS (
    SELECT 1 FROM delivery AS earlier
    WHERE earlier.incident_id = delivery.incident_id AND earlier.sink = delivery.sink
      AND earlier.status = 'pending' AND earlier.revision < delivery.revision
  )
ORDER BY coalesce(next_attempt_at, created_at), delivery_id
LIMIT $limit;

-- name: save_delivery
UPDATE delivery
SET status = $status, attempts = $attempts, last_error = $last_error, next_attempt_at = $next_attempt_at,
    delivered_at = $delivered_at, external_ref = coalesce($external_ref, external_ref)
WHERE delivery_id = $delivery_id RETURNING incident_id, revision, sink;
