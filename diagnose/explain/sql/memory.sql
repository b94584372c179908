-- name: totals
-- Live bytes of two heap snapshots.
SELECT
  coalesce(sum(value) FILTER (profile_id = $first), 0) AS first_bytes,
  coalesce(sum(value) FILTER (profile_id = $again), 0) AS again_bytes,
  coalesce(sum(value) FILTER (profile_id = $first AND own_function = $function), 0) AS first_of_function,
  coalesce(sum(value) FILTER (profile_id = $again AND own_function = $function), 0) AS again_of_function
FROM profile_samples
WHERE profile_id IN ($first, $again) AND value_type = 'inuse_space' AND NOT is_profiler;
