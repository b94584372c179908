-- name: stored
-- Profiles whose file has one of these hashes, with what else tells them apart.
SELECT profile_id, sha256, service_name, service_instance_id, basis FROM profile WHERE list_contains($hashes, sha256)

-- name: hashes
SELECT DISTINCT sha256 FROM profile

-- name: last_profile
SELECT coalesce(max(profile_no), 0) FROM profile

-- name: hash_of_profile
SELECT sha256 FROM profile WHERE profile_id = $profile_id

-- name: get_profile
SELECT * FROM profiles WHERE profile_id = $profile_id

-- name: find_profiles
-- Newest first; a parameter that is NULL, and an empty map of labels, asks for nothing.
SELECT * FROM profiles
WHERE ($service::VARCHAR IS NULL OR service_name = $service)
  AND ($instance::VARCHAR IS NULL OR service_instance_id = $instance)
  AND ($kind::VARCHAR IS NULL OR kind = $kind)
  AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since)
  AND ($until::TIMESTAMPTZ IS NULL OR started_at < $until)
  AND list_has_all(map_entries(labels), map_entries($labels::MAP(VARCHAR, VARCHAR)))
ORDER BY started_at DESC, profile_id
LIMIT $limit

-- name: labelled_traces
-- Traces named by the profiles an incident captured: in turn one that was on CPU and one that was not, those with the
-- most samples first. A hundred leaked goroutines must not hide the requests that were at work.
WITH named AS (
  SELECT
    sample.trace_id, bool_or(profile.kind = 'cpu') AS on_cpu, arg_max(profile.kind, profile.kind = 'cpu') AS kind,
    count(*) AS samples
  FROM capture JOIN profile USING (profile_id) JOIN sample USING (profile_no)
  WHERE capture.incident_id = $incident_id AND capture."trigger" <> 'resolved' AND sample.trace_id IS NOT NULL
  GROUP BY sample.trace_id
)
SELECT trace_id, kind, samples FROM named
ORDER BY row_number() OVER (PARTITION BY on_cpu ORDER BY samples DESC, trace_id), on_cpu DESC LIMIT $limit
