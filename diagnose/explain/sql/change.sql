-- name: new_builds
-- Builds that appeared on an instance of the service shortly before or during the incident, with the one that ran there
-- before, else the newest other one of the service.
WITH of_service AS (
  SELECT service_instance_id, build_id, first_seen, last_seen FROM builds WHERE service_name = $service
), fresh AS (
  SELECT * FROM of_service WHERE first_seen >= $since AND first_seen < $until
  QUALIFY row_number() OVER (PARTITION BY service_instance_id ORDER BY first_seen DESC) = 1
)
SELECT
  fresh.service_instance_id AS instance, fresh.build_id, fresh.first_seen,
  arg_max(earlier.build_id, (earlier.service_instance_id = fresh.service_instance_id, earlier.first_seen)) AS previous
FROM fresh JOIN of_service AS earlier ON earlier.first_seen < fresh.first_seen AND earlier.build_id <> fresh.build_id
GROUP BY ALL ORDER BY fresh.first_seen, instance;

-- name: trend
-- Share of on-CPU time in a function, profile by profile, with the build that ran.
SELECT
  profiles.started_at, profiles.service_instance_id AS instance, profiles.build_id,
  coalesce(sum(samples.value) FILTER (samples.own_function = $function), 0) / sum(samples.value) AS share,
  profiles.profile_id
FROM profiles JOIN profile_samples AS samples USING (profile_id)
WHERE profiles.service_name = $service AND profiles.kind = 'cpu' AND profiles.basis = 'interval'
  AND profiles.started_at BETWEEN $since AND $until AND samples.value_type = 'cpu' AND NOT samples.is_profiler
GROUP BY ALL ORDER BY profiles.started_at, instance;
