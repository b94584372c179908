-- name: groups
-- Goroutines by the function of the program's own they are in, in the healthy snapshot ($before), in the first one of
-- the incident and in the last; a stack of each group, and the traces its goroutines worked for.
SELECT
  own_function AS function,
  coalesce(sum(value) FILTER (profile_id = $before), 0) AS before,
  coalesce(sum(value) FILTER (profile_id = $first), 0) AS first,
  coalesce(sum(value) FILTER (profile_id = $again), 0) AS again,
  sum(sum(value) FILTER (profile_id = $before)) OVER () AS all_before,
  sum(sum(value) FILTER (profile_id = $again)) OVER () AS all_again,
  count(DISTINCT trace_id) FILTER (profile_id = $again) AS traces,
  arg_max(functions, value) FILTER (profile_id = $again) AS functions
FROM profile_samples
WHERE profile_id IN ($before, $first, $again) AND value_type = 'goroutine' AND NOT is_profiler
GROUP BY own_function
ORDER BY again - before DESC, own_function;

-- name: leaked
-- Goroutines that nothing can ever wake, as the runtime's own leak detection found them.
SELECT own_function AS function, sum(value) AS leaked
FROM profile_samples
WHERE profile_id = $profile AND value_type = 'goroutineleak' AND NOT is_profiler
GROUP BY own_function
ORDER BY leaked DESC, own_function;
