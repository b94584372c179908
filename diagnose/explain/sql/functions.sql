-- name: change
-- What each function of the program's own did before (profile $before) and during the incident ($during): value per
-- second of the profile, share of all, and z of the change: the weakest of a test of the rate, one of the share and,
-- where requests were counted on both sides, one of the rate per request. The share that is tested is that of the
-- observations in functions of the program's own, for such a function: the runtime's own work does not grow with the load.
-- It is not tested when fewer than 10 observations of all functions are known from before. z is divided by the root of the dispersion: how much more than by
-- chance the share of the function varied between the healthy profiles ($healthy, three at least, else $dispersion).
-- significant: functions with 10 observations on a side are tested; at most 1 % of what is called significant is by
-- chance (Benjamini and Hochberg), by z and, rate_significant, by z_rate alone. What taking the profile cost is left out.
WITH seen AS MATERIALIZED (
  SELECT
    profile_id, coalesce(own_function, '') AS function, sum(value) AS value, sum(observations)::DOUBLE AS observations
  FROM profile_samples
  WHERE (profile_id IN ($before, $during) OR profile_id IN (SELECT unnest($healthy::VARCHAR[])))
    AND value_type = $value_type AND NOT is_profiler
  GROUP BY profile_id, own_function
), own AS (
  SELECT
    function, coalesce(sum(value) FILTER (profile_id = $before), 0) AS before,
    coalesce(sum(value) FILTER (profile_id = $during), 0) AS during,
    coalesce(sum(observations) FILTER (profile_id = $before), 0) AS before_seen,
    coalesce(sum(observations) FILTER (profile_id = $during), 0) AS during_seen
  FROM seen WHERE profile_id IN ($before, $during) GROUP BY function
), named AS (
  SELECT DISTINCT name FROM function WHERE is_own
), whole AS (
  SELECT
    sum(before) AS before, sum(during) AS during, sum(before_seen) AS before_seen, sum(during_seen) AS during_seen,
    coalesce(sum(before_seen) FILTER (function IN (SELECT name FROM named)), 0) AS own_before_seen,
    coalesce(sum(during_seen) FILTER (function IN (SELECT name FROM named)), 0) AS own_during_seen
  FROM own
), calm AS (
  SELECT profile_id, sum(observations) AS total FROM seen
  WHERE profile_id IN (SELECT unnest($healthy::VARCHAR[])) GROUP BY profile_id HAVING sum(observations) > 0
), freedom AS (
  SELECT count(*) - 1 AS n, sum(total) AS total FROM calm
), shares AS (
  SELECT function, sum(observations) AS observations, sum(observations) / any_value(freedom.total) AS share
  FROM seen, freedom WHERE profile_id IN (SELECT profile_id FROM calm) GROUP BY function
), squares AS (
  SELECT
    shares.function, any_value(shares.observations) AS observations,
    coalesce(sum((coalesce(seen.observations, 0) - calm.total * shares.share) ** 2
      / nullif(calm.total * shares.share * (1 - shares.share), 0)), 0) AS x2
  FROM shares CROSS JOIN calm LEFT JOIN seen ON seen.profile_id = calm.profile_id AND seen.function = shares.function
  GROUP BY shares.function
), pooled AS (
  SELECT coalesce(
    median(x2) FILTER (squares.observations >= 5 * (freedom.n + 1)) / any_value(freedom.n * (1 - 2 / (9 * freedom.n)) ** 3),
    1) AS factor
  FROM squares, freedom
), varied AS (
  SELECT
    own.*, CASE
      WHEN freedom.n < 2 THEN $dispersion
      ELSE greatest(1, coalesce((10 * pooled.factor + squares.x2) / (10 + freedom.n), pooled.factor))
    END AS dispersion
  FROM own LEFT JOIN squares USING (function), pooled, freedom
), tested AS (
  SELECT
    varied.*, greatest(varied.before_seen, varied.during_seen) >= 10 AS is_tested,
    z_of_rate(varied.before_seen, varied.during_seen, $before_s, $during_s) / sqrt(dispersion) AS z_rate,
    CASE
      WHEN whole.before_seen < 10 THEN z_of_rate(varied.before_seen, varied.during_seen, $before_s, $during_s)
      ELSE weaker(
        z_of_rate(varied.before_seen, varied.during_seen, $before_s, $during_s),
        CASE
          WHEN least(own_before_seen, own_during_seen) >= 10 AND varied.function IN (SELECT name FROM named)
            THEN z_of_share(varied.before_seen, varied.during_seen, own_before_seen, own_during_seen)
          ELSE z_of_share(varied.before_seen, varied.during_seen, whole.before_seen, whole.during_seen)
        END)
    END / sqrt(dispersion) AS z_both,
    CASE WHEN least($before_requests, $during_requests) > 0
      THEN z_of_rate(varied.before_seen, varied.during_seen, $before_requests, $during_requests) / sqrt(dispersion) END AS z_request
  FROM varied, whole
), judged AS (
  SELECT tested.*, CASE WHEN z_request IS NULL THEN z_both ELSE weaker(z_both, z_request) END AS z FROM tested
), ranked AS (
  SELECT
    judged.*, two_sided_p(z) AS p, two_sided_p(z_rate) AS p_rate,
    0.01 * row_number() OVER (ORDER BY NOT is_tested, abs(z) DESC) / count(*) FILTER (is_tested) OVER () AS p_limit,
    0.01 * row_number() OVER (ORDER BY NOT is_tested, abs(z_rate) DESC) / count(*) FILTER (is_tested) OVER () AS rate_limit
  FROM judged
), limits AS (
  SELECT
    max(p) FILTER (is_tested AND p <= p_limit) AS p, max(p_rate) FILTER (is_tested AND p_rate <= rate_limit) AS p_rate
  FROM ranked
)
SELECT
  function, ranked.before / $before_s AS before, ranked.during / $during_s AS during,
  coalesce(ranked.before / nullif(whole.before, 0), 0) AS before_share,
  coalesce(ranked.during / nullif(whole.during, 0), 0) AS during_share,
  ranked.before_seen, ranked.during_seen, z_rate, z, dispersion,
  coalesce(is_tested AND ranked.p <= limits.p, false) AS significant,
  coalesce(is_tested AND ranked.p_rate <= limits.p_rate, false) AS rate_significant,
  coalesce(ranked.before / nullif($before_requests, 0), 0) AS before_each,
  coalesce(ranked.during / nullif($during_requests, 0), 0) AS during_each,
  whole.before / $before_s AS all_before, whole.during / $during_s AS all_during
FROM ranked, whole, limits
ORDER BY ranked.during / $during_s - ranked.before / $before_s DESC, function;

-- name: requests
-- How many requests an instance served while a profile ran, from the histograms of its request durations: their rate
-- between the points next to the profile's begin and end, times its length. NULL when no two points are near.
WITH series AS MATERIALIZED (
  SELECT
    series_id, temporality, "time", count::DOUBLE AS count,
    "time" <= $started_at AS is_before, "time" >= $started_at + $seconds * INTERVAL 1 SECOND AS is_after
  FROM histograms
  WHERE service_name = $service AND service_instance_id = $instance
    AND name IN ('http.server.request.duration', 'rpc.server.duration', 'rpc.server.call.duration', 'http.server.duration',
      'http_server_request_duration_seconds', 'http_server_request_duration', 'http_request_duration_seconds')
    AND "time" BETWEEN $started_at - INTERVAL 2 MINUTE AND $started_at + $seconds * INTERVAL 1 SECOND + INTERVAL 2 MINUTE
), ends AS (
  SELECT max("time") FILTER (is_before) AS begins, min("time") FILTER (is_after) AS ends FROM series
), near AS (
  SELECT
    series_id, any_value(temporality) AS temporality,
    coalesce(arg_max(count, "time") FILTER ("time" <= ends.begins), 0) AS at_begin,
    arg_min(count, "time") FILTER ("time" >= ends.ends) AS at_end,
    coalesce(sum(count) FILTER ("time" > ends.begins AND "time" <= ends.ends), 0) AS between_them
  FROM series, ends GROUP BY series_id
)
SELECT
  sum(CASE WHEN temporality = 'delta' THEN between_them ELSE greatest(coalesce(at_end, at_begin) - at_begin, 0) END)
    / any_value(epoch(ends.ends - ends.begins)) * $seconds AS requests
FROM near, ends WHERE ends.begins < ends.ends;

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
  0.0 AS z, 1.0 AS dispersion, false AS significant, false AS rate_significant, 0.0 AS before_each, 0.0 AS during_each,
  0.0 AS all_before, sum(during) OVER () / $during_s AS all_during
FROM own
ORDER BY during DESC, function;
