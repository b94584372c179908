-- name: open_episodes
-- What fires, with whether one of the Alertmanagers we ask has told us about it: it was listed by one, or came from the
-- external URL of an Alertmanager that listed others.
WITH listed_url AS (
    SELECT DISTINCT message.external_url
    FROM message JOIN alert_event USING (message_id) JOIN episode USING (episode_id)
    WHERE episode.listed_at IS NOT NULL AND message.source = 'alertmanager'
)
SELECT episode_id, fingerprint, starts_at, suppressed, listed_at IS NOT NULL AS is_listed,
    source = 'reconciled' OR listed_at IS NOT NULL OR EXISTS (
        SELECT 1 FROM alert_event JOIN message USING (message_id)
        WHERE alert_event.episode_id = episode.episode_id AND message.source = 'alertmanager'
          AND (message.external_url IN (FROM listed_url)
               OR list_contains($urls::VARCHAR[], rtrim(message.external_url, '/')))
    ) AS is_told_by_ours
FROM episode WHERE status = 'firing' AND source IN ('alertmanager', 'reconciled');

-- name: last_ends
-- Per fingerprint the latest end at $earliest or later, and whether it was inferred.
SELECT fingerprint, max(ends_at) AS ends_at, arg_max(ended_by IS NOT NULL, ends_at) AS is_inferred
FROM episode
WHERE status = 'resolved' AND ends_at >= $earliest
  AND fingerprint IN (SELECT unnest(from_json($fingerprints, '["VARCHAR"]')))
GROUP BY fingerprint;

-- name: receivers
SELECT DISTINCT receiver FROM message WHERE source = 'alertmanager';

-- name: expired_episodes
-- Alerts that Prometheus sent directly and did not send again in time.
SELECT episode_id, expires_at AS ends_at FROM episode
WHERE status = 'firing' AND source = 'prometheus' AND expires_at <= $now;

-- name: end_episodes
-- Those that still fire end at the time given, or when they started if that is later.
UPDATE episode SET status = 'resolved', ends_at = greatest(starts_at, one.ends_at), ended_by = $ended_by, suppressed = NULL
FROM (SELECT unnest(from_json($rows, '[{"episode_id": "VARCHAR", "ends_at": "TIMESTAMPTZ"}]'), recursive := true)) AS one
WHERE episode.episode_id = one.episode_id AND episode.status = 'firing'
RETURNING episode.episode_id, episode.incident_id, episode.alertname, episode.labels['instance'] AS instance;

-- name: mark_listed
UPDATE episode SET listed_at = $at
WHERE episode_id IN (SELECT unnest(from_json($episodes, '["VARCHAR"]'))) AND listed_at IS NULL;

-- name: mark_suppressed
UPDATE episode SET suppressed = one.suppressed
FROM (SELECT unnest(from_json($rows, '[{"episode_id": "VARCHAR", "suppressed": "VARCHAR"}]'), recursive := true)) AS one
WHERE episode.episode_id = one.episode_id AND episode.status = 'firing'
RETURNING episode.incident_id, episode.alertname, episode.labels['instance'] AS instance, episode.suppressed;
