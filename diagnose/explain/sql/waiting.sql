-- name: states
-- What goroutines did in a function, most first: nanoseconds by state, from polled snapshots.
SELECT labels['state'] AS state, sum(value) AS wall_ns
FROM profile_samples
WHERE profile_id = $during AND value_type = 'wall' AND own_function = $function AND NOT is_profiler
GROUP BY 1 ORDER BY wall_ns DESC, state;

-- name: of_requests
-- Wall-clock time of goroutines that worked for a request (they carry a trace id), in nanoseconds.
SELECT coalesce(sum(value) FILTER (trace_id IS NOT NULL), 0) AS labelled_ns, coalesce(sum(value), 0) AS all_ns
FROM profile_samples
WHERE profile_id = $during AND value_type = 'wall' AND NOT is_profiler;

-- name: runnable
-- How many goroutines are ready and wait for a processor, on average.
SELECT
  coalesce(sum(value) FILTER (profile_id = $before), 0) / 1e9 / $before_s AS before,
  coalesce(sum(value) FILTER (profile_id = $during), 0) / 1e9 / $during_s AS during
FROM profile_samples
WHERE profile_id IN ($before, $during) AND value_type = 'wall' AND labels['state'] = 'runnable';
