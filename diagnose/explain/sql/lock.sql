-- name: waiters
-- How many goroutines waited for a lock at a time, on average, and where: goroutine snapshots in state mutex.
SELECT own_function AS function, sum(value) / $during_s / 1e9 AS waiting
FROM profile_samples
WHERE profile_id = $during AND value_type = 'wall' AND labels['state'] = 'mutex'
GROUP BY own_function
ORDER BY waiting DESC, own_function;
