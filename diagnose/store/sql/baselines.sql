-- name: kept_baselines
-- The profiles of the newest healthy round of each of the last two builds of a service, growth between its two snapshots
-- included. A round is what was requested at one moment.
WITH healthy AS (
  SELECT
    profile.profile_id, profile.service_name, profile.service_instance_id, profile.build_id, profile.kind,
    profile.basis, capture.requested_at
  FROM control.capture JOIN telemetry.profile ON profile.capture_id = capture.capture_id OR profile.profile_id = capture.profile_id
  WHERE capture."trigger" IN ('baseline', 'resolved') AND capture.status = 'done'
), builds AS (
  SELECT service_name, build_id FROM healthy GROUP BY service_name, build_id
  QUALIFY row_number() OVER (PARTITION BY service_name ORDER BY max(requested_at) DESC) <= 2
)
SELECT DISTINCT profile_id FROM (
  SELECT healthy.profile_id FROM healthy JOIN builds USING (service_name, build_id)
  QUALIFY rank() OVER (
    PARTITION BY healthy.service_name, healthy.build_id, healthy.service_instance_id, healthy.kind, healthy.basis
    ORDER BY healthy.requested_at DESC
  ) = 1
)
ORDER BY profile_id;

-- name: old_baselines
-- Healthy profiles from before $before that no finding names as evidence.
SELECT DISTINCT profile.profile_id
FROM telemetry.profile JOIN control.capture ON profile.capture_id = capture.capture_id OR profile.profile_id = capture.profile_id
WHERE capture."trigger" = 'baseline' AND profile.started_at < $before
  AND profile.profile_id NOT IN (SELECT unnest(evidence) FROM control.finding)
ORDER BY profile.profile_id;
