-- Questions about profiles, as macros. What the arguments mean stands in 15_profiles.sql: profile_ids is a list, NULL asks
-- for all samples. Queries over stacks add the samples up first, MATERIALIZED, as there.

CREATE MACRO profile_peek(
  profile_ids, function_name, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT weights.stack_no, stack.nodes, weights.value
  FROM profile_weights(profile_ids, value_type, trace_id, span_id, labels, focus) AS weights JOIN stack USING (stack_no)
), pairs AS (
  SELECT stack_no, value, unnest(nodes[:len(nodes) - 1]) AS above_no, unnest(nodes[2:]) AS below_no FROM placed
), calls AS MATERIALIZED (
  SELECT DISTINCT pairs.stack_no, pairs.value, caller.name AS caller, callee.name AS callee
  FROM pairs
  JOIN node AS above ON above.node_no = pairs.above_no JOIN function AS caller ON caller.function_no = above.function_no
  JOIN node AS below ON below.node_no = pairs.below_no JOIN function AS callee ON callee.function_no = below.function_no
  WHERE (caller.name = function_name) <> (callee.name = function_name)
)
SELECT
  CASE WHEN callee = function_name THEN 'caller' ELSE 'callee' END AS side,
  CASE WHEN callee = function_name THEN caller ELSE callee END AS function, sum(calls.value)::BIGINT AS value
FROM calls GROUP BY ALL ORDER BY side DESC, abs(sum(calls.value)) DESC, function;
COMMENT ON MACRO TABLE profile_peek IS 'Who calls a function and whom it calls, as go tool pprof -peek: side (caller, callee), function, value. A call of itself is not listed.';

CREATE MACRO source_lines(
  profile_ids, function_name, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT weights.stack_no, stack.frames, weights.value
  FROM profile_weights(profile_ids, value_type, trace_id, span_id, labels, focus) AS weights JOIN stack USING (stack_no)
), along AS (
  SELECT stack_no, value, unnest(frames) AS frame_no, generate_subscripts(frames, 1) AS place FROM placed
), lines AS (
  SELECT along.stack_no, along.value, named.file, frame.line, min(along.place) AS place
  FROM along JOIN frame USING (frame_no) JOIN function AS named USING (function_no)
  WHERE named.name = function_name GROUP BY ALL
)
SELECT file, line, coalesce(sum(value) FILTER (place = 1), 0)::BIGINT AS flat, sum(value)::BIGINT AS cum
FROM lines GROUP BY file, line ORDER BY file, line;
COMMENT ON MACRO TABLE source_lines IS 'The lines of a function: file, line, flat (the line was on top of the stack), cum (it was in the stack, once per sample).';

CREATE MACRO sandwich(
  profile_ids, function_name, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT weights.stack_no, stack.nodes, weights.value
  FROM profile_weights(profile_ids, value_type, trace_id, span_id, labels, focus) AS weights JOIN stack USING (stack_no)
), along AS (
  SELECT stack_no, value, unnest(nodes) AS node_no, generate_subscripts(nodes, 1) AS place FROM placed
), named AS MATERIALIZED (
  SELECT along.stack_no, any_value(along.value) AS value, list(named.name ORDER BY along.place) AS names
  FROM along JOIN node USING (node_no) JOIN function AS named USING (function_no) GROUP BY along.stack_no
), halves AS MATERIALIZED (
  SELECT value, names, list_position(names, function_name) AS place FROM named WHERE list_contains(names, function_name)
), paths AS (
  SELECT 'callees' AS side, value, names[place:] AS names FROM halves
  UNION ALL
  SELECT 'callers', value, list_reverse(names[:place]) FROM halves
), steps AS (
  SELECT side, value, names, unnest(range(1, len(names) + 1)) AS depth FROM paths
)
SELECT
  side, names[:depth] AS path, sum(value)::BIGINT AS total,
  coalesce(sum(value) FILTER (depth = len(names)), 0)::BIGINT AS self
FROM steps GROUP BY side, path ORDER BY side, len(path), total DESC, path;
COMMENT ON MACRO TABLE sandwich IS 'The trees below and above a function, from its outermost call in every stack: side (callees, callers), path (begins with the function), total, self (what ends there).';

CREATE MACRO function_trend(
  service, profile_kind, function_name, value_type := NULL, instance := NULL, since := NULL, until := NULL
) AS TABLE
WITH chosen AS MATERIALIZED (
  SELECT
    profile.profile_no, profile.profile_id, profile.service_instance_id, profile.started_at, profile.duration_ns,
    profile.build_id, value_place(profile.value_types, profile.default_value, value_type) AS place
  FROM profile
  WHERE profile.service_name = service AND profile.kind = profile_kind
    AND (instance IS NULL OR profile.service_instance_id = instance)
    AND (since IS NULL OR profile.started_at >= since) AND (until IS NULL OR profile.started_at < until)
), weighed AS MATERIALIZED (
  SELECT sample.profile_no, sample.stack_no, sum(sample."values"[chosen.place])::BIGINT AS value
  FROM sample JOIN chosen USING (profile_no) GROUP BY ALL
), wanted AS MATERIALIZED (
  SELECT node.node_no FROM node JOIN function AS named USING (function_no) WHERE named.name = function_name
), placed AS MATERIALIZED (
  SELECT
    stack.stack_no, stack.leaf_no IN (SELECT node_no FROM wanted) AS is_leaf,
    list_has_any(stack.nodes, (SELECT list(node_no) FROM wanted)) AS is_in
  FROM stack WHERE stack.stack_no IN (SELECT stack_no FROM weighed) AND NOT stack.is_profiler
)
SELECT
  chosen.started_at, chosen.profile_id, chosen.service_instance_id, chosen.build_id,
  coalesce(sum(weighed.value) FILTER (placed.is_leaf), 0)::BIGINT AS flat,
  coalesce(sum(weighed.value) FILTER (placed.is_in), 0)::BIGINT AS cum, coalesce(sum(weighed.value), 0)::BIGINT AS total,
  coalesce(100 * sum(weighed.value) FILTER (placed.is_leaf) / nullif(sum(weighed.value), 0), 0) AS flat_percent,
  coalesce(100 * sum(weighed.value) FILTER (placed.is_in) / nullif(sum(weighed.value), 0), 0) AS cum_percent,
  sum(weighed.value) FILTER (placed.is_in) / nullif(any_value(chosen.duration_ns) / 1e9, 0) AS cum_per_second
FROM chosen LEFT JOIN weighed USING (profile_no) JOIN placed USING (stack_no)
GROUP BY ALL ORDER BY chosen.started_at, chosen.profile_id;
COMMENT ON MACRO TABLE function_trend IS 'One function over the profiles of a service and a kind: started_at, profile_id, instance, build, flat, cum, the total of the profile (without the profiler itself), shares in percent, cum per second of profile.';

CREATE MACRO heap_growth(base_id, new_id, value_type := 'inuse_space') AS TABLE
WITH sided AS MATERIALIZED (
  SELECT
    stack_no, coalesce(sum(value) FILTER (NOT is_new), 0)::BIGINT AS base,
    coalesce(sum(value) FILTER (is_new), 0)::BIGINT AS new
  FROM side_weights([base_id], [new_id], value_type) GROUP BY stack_no
)
SELECT
  site.name AS function, site.file, frame.line, own.name AS own_function, sum(sided.base)::BIGINT AS base,
  sum(sided.new)::BIGINT AS new, sum(sided.new - sided.base)::BIGINT AS growth
FROM sided JOIN stack USING (stack_no) JOIN frame ON frame.frame_no = stack.frames[1]
JOIN function AS site ON site.function_no = frame.function_no LEFT JOIN function AS own ON own.function_no = stack.own_no
WHERE NOT stack.is_profiler GROUP BY ALL HAVING sum(sided.base) <> 0 OR sum(sided.new) <> 0
ORDER BY abs(sum(sided.new - sided.base)) DESC, site.name, frame.line, own.name;
COMMENT ON MACRO TABLE heap_growth IS 'Two snapshots of a heap by allocation site: function, file and line that allocated, own_function (the program''s own that needed it), base, new, growth.';

CREATE MACRO runtime_state(function_name) AS
CASE
  WHEN function_name IN ('runtime.chanrecv', 'runtime.chanrecv1', 'runtime.chanrecv2') THEN 'chan receive'
  WHEN function_name IN ('runtime.chansend', 'runtime.chansend1') THEN 'chan send'
  WHEN function_name IN ('runtime.selectgo', 'runtime.block') THEN 'select'
  WHEN function_name IN (
    'sync.runtime_SemacquireMutex', 'internal/sync.runtime_SemacquireMutex', 'sync.runtime_SemacquireRWMutex',
    'sync.runtime_SemacquireRWMutexR', 'sync.(*Mutex).lockSlow', 'internal/sync.(*Mutex).lockSlow'
  ) THEN 'mutex'
  WHEN function_name IN ('sync.runtime_SemacquireWaitGroup', 'sync.(*WaitGroup).Wait') THEN 'waitgroup'
  WHEN function_name IN ('sync.runtime_notifyListWait') THEN 'cond'
  WHEN function_name IN ('internal/poll.runtime_Semacquire') THEN 'semacquire'
  WHEN function_name IN ('internal/poll.runtime_pollWait', 'runtime.netpollblock') THEN 'network'
  WHEN function_name IN ('time.Sleep', 'runtime.timeSleep') THEN 'sleep'
  WHEN function_name IN ('os/signal.signal_recv') THEN 'signal'
  WHEN function_name IN (
    'runtime.cgocall', 'syscall.Syscall', 'syscall.Syscall6', 'syscall.RawSyscall', 'syscall.RawSyscall6',
    'syscall.syscall', 'syscall.syscall6', 'internal/runtime/syscall.Syscall6',
    'internal/runtime/syscall/linux.Syscall6', 'runtime/internal/syscall.Syscall6'
  ) THEN 'syscall'
  WHEN function_name IN (
    'runtime.gcBgMarkWorker', 'runtime.bgsweep', 'runtime.bgscavenge', 'runtime.gcMarkDone', 'runtime.gcStart',
    'runtime.gcAssistAlloc'
  ) THEN 'gc'
  WHEN function_name IN ('runtime.runfinq', 'runtime.runFinalizers') THEN 'finalizer'
END;
COMMENT ON MACRO runtime_state IS 'What a goroutine does whose stack has this function of the standard library near its leaf; NULL for any other (pprof/wall.py).';

CREATE MACRO first_true(flags) AS list_position(flags, true);
COMMENT ON MACRO first_true IS 'Where the first true stands in a list, from 1; NULL or 0 when there is none.';

CREATE MACRO goroutine_state(names, are_std) AS
CASE
  WHEN len(names) = 0 THEN 'runnable'
  WHEN coalesce(first_true(list_transform(names, lambda each: runtime_state(each) IS NOT NULL)), 0) > 0
    AND first_true(list_transform(names, lambda each: runtime_state(each) IS NOT NULL))
      <= coalesce(nullif(first_true(list_transform(are_std, lambda each: NOT each)), 0), len(names))
    THEN runtime_state(names[first_true(list_transform(names, lambda each: runtime_state(each) IS NOT NULL))])
  WHEN len(list_filter(names[:4], lambda each: starts_with(each, 'runtime.semacquire'))) > 0 THEN 'semacquire'
  WHEN names[1] = 'runtime.gopark' THEN 'waiting'
  ELSE 'running'
END;
COMMENT ON MACRO goroutine_state IS 'What a goroutine is doing, from the functions of its stack (leaf first) and whether each belongs to the standard library: chan receive, select, mutex, network, sleep, syscall, running, runnable (no frames) …';

CREATE MACRO goroutine_groups(profile_id) AS TABLE
WITH counted AS MATERIALIZED (
  SELECT
    sample.stack_no, sample.labels, sum(sample."values"[1])::BIGINT AS goroutines,
    list(DISTINCT sample.trace_id) FILTER (sample.trace_id IS NOT NULL) AS traces
  FROM sample JOIN profile USING (profile_no) WHERE profile.profile_id = profile_id GROUP BY ALL
), along AS (
  SELECT stack.stack_no, unnest(stack.frames) AS frame_no, generate_subscripts(stack.frames, 1) AS place
  FROM stack WHERE stack.stack_no IN (SELECT stack_no FROM counted)
), named AS MATERIALIZED (
  SELECT
    along.stack_no, list(named.name ORDER BY along.place) AS functions, list(named.is_std ORDER BY along.place) AS are_std
  FROM along JOIN frame USING (frame_no) JOIN function AS named USING (function_no) GROUP BY along.stack_no
)
SELECT
  counted.goroutines, goroutine_state(coalesce(named.functions, []), coalesce(named.are_std, [])) AS state,
  counted.labels, own.name AS own_function, coalesce(named.functions, []) AS functions,
  coalesce(counted.traces, []) AS trace_ids, stack.is_profiler
FROM counted JOIN stack USING (stack_no) LEFT JOIN named USING (stack_no)
LEFT JOIN function AS own ON own.function_no = stack.own_no
ORDER BY counted.goroutines DESC, own_function, functions;
COMMENT ON MACRO TABLE goroutine_groups IS 'Goroutines of a profile (goroutine, goroutineleak) by stack and labels: goroutines, state, labels, own_function, functions (leaf first), trace_ids, is_profiler.';

CREATE MACRO leaked_requests(profile_id) AS TABLE
WITH leaked AS MATERIALIZED (
  SELECT sample.trace_id, sample.span_id, sample.stack_no, sum(sample."values"[1])::BIGINT AS goroutines
  FROM sample JOIN profile USING (profile_no)
  WHERE profile.profile_id = profile_id AND sample.trace_id IS NOT NULL GROUP BY ALL
), entries AS MATERIALIZED (
  SELECT span.trace_id, min_by(span.name, span.start_time_unix_nano) AS name,
    min_by(span.service_name, span.start_time_unix_nano) AS service_name, min(span.start_time) AS start_time,
    max_by(span.http_route, span.http_route IS NOT NULL) AS http_route
  FROM span WHERE span.trace_id IN (SELECT leaked.trace_id FROM leaked) GROUP BY span.trace_id
)
SELECT
  leaked.trace_id, leaked.span_id, leaked.goroutines, own.name AS own_function, entries.name AS request,
  entries.service_name, entries.http_route, entries.start_time
FROM leaked JOIN stack USING (stack_no) LEFT JOIN function AS own ON own.function_no = stack.own_no
LEFT JOIN entries USING (trace_id)
ORDER BY leaked.goroutines DESC, leaked.trace_id, own_function;
COMMENT ON MACRO TABLE leaked_requests IS 'Which request a goroutine still works for: the labelled goroutines of a profile (best: goroutineleak) with the first span of their trace: trace_id, span_id, goroutines, own_function, request, service_name, http_route, start_time. Without spans the last four are NULL.';

CREATE MACRO profile_by_label(profile_ids, label, value_type := NULL) AS TABLE
WITH chosen AS MATERIALIZED (
  SELECT profile.profile_no, value_place(profile.value_types, profile.default_value, value_type) AS place
  FROM (SELECT unnest(profile_ids) AS profile_id) JOIN profile USING (profile_id)
), weighed AS (
  SELECT
    CASE label WHEN 'trace_id' THEN sample.trace_id WHEN 'span_id' THEN sample.span_id ELSE sample.labels[label] END AS label,
    sample."values"[chosen.place] AS value, sample.trace_id
  FROM sample JOIN chosen USING (profile_no) JOIN stack USING (stack_no) WHERE NOT stack.is_profiler
)
SELECT
  weighed.label AS label, sum(value)::BIGINT AS value, 100 * sum(value) / nullif(sum(sum(value)) OVER (), 0) AS percent,
  count(DISTINCT weighed.trace_id) AS traces
FROM weighed WHERE value IS NOT NULL GROUP BY weighed.label ORDER BY abs(sum(value)) DESC, weighed.label NULLS LAST;
COMMENT ON MACRO TABLE profile_by_label IS 'What the samples add up to per value of a label (or trace_id, span_id): label (NULL: without it), value, percent, traces. Without the profiler itself.';

CREATE MACRO cpu_attribution(profile_ids, value_type := NULL) AS TABLE
WITH chosen AS MATERIALIZED (
  SELECT profile.profile_no, value_place(profile.value_types, profile.default_value, value_type) AS place
  FROM (SELECT unnest(profile_ids) AS profile_id) JOIN profile USING (profile_id)
), weighed AS MATERIALIZED (
  SELECT
    sample.stack_no, sample.trace_id IS NOT NULL AS has_trace, sum(sample."values"[chosen.place])::BIGINT AS value,
    list(DISTINCT sample.trace_id) AS traces
  FROM sample JOIN chosen USING (profile_no) GROUP BY ALL
), along AS (
  SELECT stack.stack_no, unnest(stack.nodes) AS node_no FROM stack WHERE stack.stack_no IN (SELECT stack_no FROM weighed)
), named AS MATERIALIZED (
  SELECT
    along.stack_no, bool_or(coalesce(runtime_state(named.name) = 'gc', false)) AS is_gc,
    bool_and(named.is_runtime) AS is_runtime
  FROM along JOIN node USING (node_no) JOIN function AS named USING (function_no) GROUP BY along.stack_no
), told AS (
  SELECT
    CASE
      WHEN stack.is_profiler THEN 'diagnose itself' WHEN named.is_gc THEN 'garbage collector'
      WHEN weighed.has_trace THEN 'requests' WHEN coalesce(named.is_runtime, true) THEN 'runtime' ELSE 'background'
    END AS part,
    weighed.value, weighed.traces
  FROM weighed JOIN stack USING (stack_no) LEFT JOIN named USING (stack_no)
)
SELECT
  part, sum(value)::BIGINT AS value, 100 * sum(value) / nullif(sum(sum(value)) OVER (), 0) AS percent,
  len(list_distinct(flatten(list(traces)))) AS traces
FROM told GROUP BY part ORDER BY sum(value) DESC, part;
COMMENT ON MACRO TABLE cpu_attribution IS 'Whose CPU time it was: part (requests: the sample names a trace; garbage collector, also what requests spend on it; runtime: nothing but the runtime in the stack; background: own work outside any trace; diagnose itself), value, percent, traces.';
