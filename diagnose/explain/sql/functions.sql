-- name: change
-- What each function of the program's own did before (profile $before) and during the incident ($during): value per
-- second of the profile, share of all, and z of the change: the weaker of a test of the rate and one of the share, the
-- rate alone when fewer than 10 observations of all functions are known from before. What taking the profile itself cost
-- is left out.
WITH own AS (
  SELECT
    own_function AS function,
    coalesce(sum(value) FILTER (profile_id = $before), 0) AS before,
    coalesce(sum(value) FILTER (profile_id = $during), 0) AS during,
    coalesce(sum(observations) FILTER (profile_id = $before), 0) AS before_seen,
    coalesce(sum(observations) FILTER (profile_id = $during), 0) AS during_seen
  FROM profile_samples
  WHERE profile_id IN ($before, $during) AND value_type = $value_type AND NOT is_profiler
  GROUP BY own_function
), whole AS (
  SELECT
    sum(before) AS before, sum(during) AS during, sum(before_seen) AS before_seen, sum(during_seen) AS during_seen
  FROM own
)
SELECT
  own.function, own.before / $before_s AS before, own.during / $during_s AS during,
  coalesce(own.before / nullif(whole.before, 0), 0) AS before_share,
  coalesce(own.during / nullif(whole.during, 0), 0) AS during_share,
  own.before_seen, own.during_seen,
  z_of_rate(own.before_seen, own.during_seen, $before_s, $during_s) AS z_rate,
  CASE
    WHEN whole.before_seen < 10 THEN z_of_rate(own.before_seen, own.during_seen, $before_s, $during_s)
    ELSE weaker(
      z_of_rate(own.before_seen, own.during_seen, $before_s, $during_s),
      z_of_share(own.before_seen, own.during_seen, whole.before_seen, whole.during_seen))
  END AS z,
  whole.before / $before_s AS all_before, whole.during / $during_s AS all_during
FROM own, whole
ORDER BY own.during / $during_s - own.before / $before_s DESC, own.function;

-- name: share
-- What each function of the program's own did during the incident: value per second of the profile and share of all.
WITH own AS (
  SELECT own_function AS function, sum(value) AS during, sum(observations) AS during_seen
  FROM profile_samples
  WHERE profile_id = $during AND value_type = $value_type AND NOT is_profiler
  GROUP BY own_function
)
SELECT
  function, 0.0 AS before, during / $during_s AS during, 0.0 AS before_share,
  coalesce(during / nullif(sum(during) OVER (), 0), 0) AS during_share, 0.0 AS before_seen, during_seen, 0.0 AS z_rate,
  0.0 AS z, 0.0 AS all_before, sum(during) OVER () / $during_s AS all_during
FROM own
ORDER BY during DESC, function;
