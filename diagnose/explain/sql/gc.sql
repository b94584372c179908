-- name: share
-- Share of CPU that the garbage collector takes: its workers, and what allocating goroutines must help it with.
SELECT
  (SELECT coalesce(sum(cum_percent), 0) FROM top_functions($before, 'cpu')
   WHERE function IN ('runtime.gcBgMarkWorker', 'runtime.gcAssistAlloc', 'runtime.bgsweep', 'runtime.bgscavenge')) AS before_percent,
  (SELECT coalesce(sum(cum_percent), 0) FROM top_functions($during, 'cpu')
   WHERE function IN ('runtime.gcBgMarkWorker', 'runtime.gcAssistAlloc', 'runtime.bgsweep', 'runtime.bgscavenge')) AS during_percent;
