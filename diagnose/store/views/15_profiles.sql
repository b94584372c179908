-- The documented views and macros over profiles. Tables are named without their database, as in 10_telemetry.sql.
-- Queries over stacks add the samples up first, MATERIALIZED: unnesting below such a join fails on DuckDB 2.0.0.
-- In macros a parameter hides a column of the same name, so those columns are written with their table.

CREATE VIEW profiles AS
SELECT
  profile_id, capture_id, service_name, service_instance_id, kind, basis, started_at, duration_ns, sample_count,
  build_id, labels, value_types, value_types[default_value]."type" AS default_value_type, period, sha256,
  bytes
FROM profile;
COMMENT ON VIEW profiles IS 'One row per stored profile.';
COMMENT ON COLUMN profiles.profile_id IS 'Kind and the first digits of the content hash.';
COMMENT ON COLUMN profiles.capture_id IS 'The capture that fetched it; NULL when it was imported.';
COMMENT ON COLUMN profiles.service_name IS 'Service of the process.';
COMMENT ON COLUMN profiles.service_instance_id IS 'Instance of the process.';
COMMENT ON COLUMN profiles.kind IS 'cpu, heap, goroutine, goroutineleak, mutex, block, wall, threadcreate.';
COMMENT ON COLUMN profiles.basis IS 'interval: what happened in duration_ns; snapshot: the state then; since_start: summed up since the process began.';
COMMENT ON COLUMN profiles.started_at IS 'When it began, UTC.';
COMMENT ON COLUMN profiles.duration_ns IS 'How long it ran, nanoseconds; 0 for a snapshot.';
COMMENT ON COLUMN profiles.sample_count IS 'Samples of distinct stack, ids and labels.';
COMMENT ON COLUMN profiles.build_id IS 'Build id of the binary, empty when unknown.';
COMMENT ON COLUMN profiles.labels IS 'Labels given when it was stored.';
COMMENT ON COLUMN profiles.value_types IS 'What was measured and in which unit, in the order of the file.';
COMMENT ON COLUMN profiles.default_value_type IS 'The value type meant when none is named.';
COMMENT ON COLUMN profiles.period IS 'Events between two samples, in the unit of the kind: 10000000 ns for cpu.';
COMMENT ON COLUMN profiles.sha256 IS 'Hash of the file as it came.';
COMMENT ON COLUMN profiles.bytes IS 'Size of the gzipped file.';

CREATE VIEW profile_samples AS
WITH typed AS (
  SELECT
    profile_no, profile_id, kind, service_name, service_instance_id, unnest(value_types) AS value_type,
    generate_subscripts(value_types, 1) AS place
  FROM profile
)
SELECT
  typed.profile_id, typed.kind, typed.service_name, typed.service_instance_id, typed.value_type."type" AS value_type,
  typed.value_type.unit AS unit, sample."values"[typed.place] AS value, sample.observations[typed.place] AS observations,
  sample.trace_id, sample.span_id, sample.labels, sample.numbers, stack.stack_id, leaf.name AS leaf_function,
  own.name AS own_function, stack.is_profiler,
  coalesce((
    SELECT list(named.name ORDER BY path.place)
    FROM (SELECT unnest(stack.nodes) AS node_no, generate_subscripts(stack.nodes, 1) AS place) AS path
    JOIN node USING (node_no) JOIN function AS named USING (function_no)
  ), []) AS functions
FROM sample JOIN typed USING (profile_no) JOIN stack USING (stack_no)
LEFT JOIN node AS leaf_node ON leaf_node.node_no = stack.leaf_no
LEFT JOIN function AS leaf ON leaf.function_no = leaf_node.function_no
LEFT JOIN function AS own ON own.function_no = stack.own_no;
COMMENT ON VIEW profile_samples IS 'One row per sample and value type.';
COMMENT ON COLUMN profile_samples.profile_id IS 'The profile.';
COMMENT ON COLUMN profile_samples.kind IS 'Kind of the profile.';
COMMENT ON COLUMN profile_samples.service_name IS 'Service of the process.';
COMMENT ON COLUMN profile_samples.service_instance_id IS 'Instance of the process.';
COMMENT ON COLUMN profile_samples.value_type IS 'What was measured: cpu, samples, inuse_space, wall …';
COMMENT ON COLUMN profile_samples.unit IS 'Unit of value.';
COMMENT ON COLUMN profile_samples.value IS 'What was measured at this stack.';
COMMENT ON COLUMN profile_samples.observations IS 'How many independent observations stand behind value.';
COMMENT ON COLUMN profile_samples.trace_id IS 'Trace the goroutine worked for, from its labels; NULL when it carried none.';
COMMENT ON COLUMN profile_samples.span_id IS 'Span the goroutine worked for, from its labels.';
COMMENT ON COLUMN profile_samples.labels IS 'The other labels of the goroutine; kind wall has state.';
COMMENT ON COLUMN profile_samples.numbers IS 'Numeric labels.';
COMMENT ON COLUMN profile_samples.stack_id IS 'Hash of the stack, the same in every profile.';
COMMENT ON COLUMN profile_samples.leaf_function IS 'The function on top; NULL for a goroutine that has not run yet.';
COMMENT ON COLUMN profile_samples.own_function IS 'The function to name to a human: the first of the program''s own from the top.';
COMMENT ON COLUMN profile_samples.is_profiler IS 'True when the stack exists only because a profile was taken.';
COMMENT ON COLUMN profile_samples.functions IS 'The stack, root to leaf; empty for a goroutine that has not run yet.';

CREATE MACRO value_place(profile_types, default_place, wanted) AS
CASE
  WHEN wanted IS NULL THEN default_place
  ELSE nullif(list_position(list_transform(profile_types, lambda each: each."type"), wanted), 0)
END;
COMMENT ON MACRO value_place IS 'Where a value type stands in profile.value_types, from 1; NULL when it does not.';

CREATE MACRO profile_ids(
  service := NULL, instance := NULL, kind := NULL, since := NULL, until := NULL, labels := NULL
) AS (
  SELECT coalesce(list(profile.profile_id ORDER BY profile.started_at), []) FROM profile
  WHERE (service IS NULL OR profile.service_name = service)
    AND (instance IS NULL OR profile.service_instance_id = instance) AND (kind IS NULL OR profile.kind = kind)
    AND (since IS NULL OR profile.started_at >= since) AND (until IS NULL OR profile.started_at < until)
    AND (labels IS NULL OR list_has_all(map_entries(profile.labels), map_entries(labels)))
);
COMMENT ON MACRO profile_ids IS 'The ids of the profiles of a service, an instance, a kind, that started in [since, until) and were stored with these labels (a map), oldest first: profile_ids(service := ''checkout'', kind := ''cpu'').';

CREATE MACRO weight_no(profile_no, place) AS 64 * profile_no + place - 1;
COMMENT ON MACRO weight_no IS 'Which rows of table weight belong to a profile and a place in its value types, from 1.';

-- What a selection weighs per stack. All macros that begin with merged_ take the same arguments: a list of profile ids,
-- and which of their samples (NULL: all). Without a choice the samples are added up already, in table weight. The other
-- branches of `weighed` and `focused` cost nothing when they are not asked for.

CREATE MACRO side_weights(
  base_ids, new_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH chosen AS MATERIALIZED (
  SELECT
    sides.is_new, profile.profile_no, value_place(profile.value_types, profile.default_value, value_type) AS place,
    profile.weight_units
  FROM (SELECT false AS is_new, unnest(base_ids) AS profile_id UNION ALL SELECT true, unnest(new_ids)) AS sides
  JOIN profile USING (profile_id)
), weighed AS MATERIALIZED (
  SELECT
    weight.stack_no, chosen.is_new, sum(weight.value * chosen.unit)::BIGINT AS value,
    sum(weight.observations) AS observations
  FROM weight JOIN (
    SELECT is_new, weight_no(profile_no, place) AS weight_no, coalesce(weight_units[place], 1) AS unit FROM chosen
  ) AS chosen USING (weight_no)
  WHERE trace_id IS NULL AND span_id IS NULL AND labels IS NULL
  GROUP BY weight.stack_no, chosen.is_new
  UNION ALL
  SELECT
    sample.stack_no, chosen.is_new, sum(sample."values"[chosen.place])::BIGINT,
    sum(sample.observations[chosen.place])
  FROM sample JOIN chosen USING (profile_no)
  WHERE (trace_id IS NOT NULL OR span_id IS NOT NULL OR labels IS NOT NULL)
    AND (trace_id IS NULL OR sample.trace_id = lower(trace_id)) AND (span_id IS NULL OR sample.span_id = lower(span_id))
    AND (labels IS NULL OR list_has_all(map_entries(sample.labels), map_entries(labels)))
  GROUP BY sample.stack_no, chosen.is_new
)
SELECT stack_no, is_new, value, observations FROM weighed WHERE focus IS NULL
UNION ALL
SELECT weighed.stack_no, weighed.is_new, weighed.value, weighed.observations
FROM weighed JOIN stack USING (stack_no)
WHERE focus IS NOT NULL AND list_has_any(stack.frames, (
  SELECT list(frame.frame_no) FROM frame JOIN function AS named USING (function_no)
  WHERE focus IS NOT NULL AND (regexp_matches(named.name, focus) OR regexp_matches(named.file, focus))
));
COMMENT ON MACRO TABLE side_weights IS 'As profile_weights for two lists of profiles: stack_no, is_new, value, and the observations behind it.';

CREATE MACRO profile_weights(
  profile_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH chosen AS MATERIALIZED (
  SELECT
    profile.profile_no, value_place(profile.value_types, profile.default_value, value_type) AS place,
    profile.weight_units
  FROM (SELECT unnest(profile_ids) AS profile_id) JOIN profile USING (profile_id)
), weighed AS MATERIALIZED (
  SELECT weight.stack_no, sum(weight.value * chosen.unit)::BIGINT AS value
  FROM weight JOIN (
    SELECT weight_no(profile_no, place) AS weight_no, coalesce(weight_units[place], 1) AS unit FROM chosen
  ) AS chosen USING (weight_no)
  WHERE trace_id IS NULL AND span_id IS NULL AND labels IS NULL
  GROUP BY weight.stack_no
  UNION ALL
  SELECT sample.stack_no, sum(sample."values"[chosen.place])::BIGINT
  FROM sample JOIN chosen USING (profile_no)
  WHERE (trace_id IS NOT NULL OR span_id IS NOT NULL OR labels IS NOT NULL)
    AND (trace_id IS NULL OR sample.trace_id = lower(trace_id)) AND (span_id IS NULL OR sample.span_id = lower(span_id))
    AND (labels IS NULL OR list_has_all(map_entries(sample.labels), map_entries(labels)))
  GROUP BY sample.stack_no
)
SELECT stack_no, value FROM weighed WHERE focus IS NULL AND value <> 0
UNION ALL
SELECT weighed.stack_no, weighed.value
FROM weighed JOIN stack USING (stack_no)
WHERE focus IS NOT NULL AND weighed.value <> 0 AND list_has_any(stack.frames, (
  SELECT list(frame.frame_no) FROM frame JOIN function AS named USING (function_no)
  WHERE focus IS NOT NULL AND (regexp_matches(named.name, focus) OR regexp_matches(named.file, focus))
));
COMMENT ON MACRO TABLE profile_weights IS 'What the samples of some profiles add up to per stack: stack_no, value. profile_ids is a list; value_type (default: each profile''s own), trace_id, span_id, labels (a map) and focus (a regular expression on functions and files) choose among the samples.';

CREATE MACRO merged_top_functions(
  profile_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT stack.nodes, stack.leaf_no, weights.value, CASE WHEN stack.is_profiler THEN 0 ELSE weights.value END AS evidence
  FROM profile_weights(profile_ids, value_type, trace_id, span_id, labels, focus) AS weights JOIN stack USING (stack_no)
), along AS (
  SELECT unnest(nodes) AS node_no, value, evidence FROM placed
), by_node AS MATERIALIZED (
  SELECT node_no, sum(value) AS total, sum(evidence) AS evidence_total FROM along GROUP BY node_no
), by_leaf AS MATERIALIZED (
  SELECT leaf_no AS node_no, sum(value) AS self, sum(evidence) AS evidence_self FROM placed GROUP BY leaf_no
), by_function AS (
  SELECT
    named.name, min(named.file) AS file, min(named.package) AS package, bool_or(named.is_own) AS is_own,
    coalesce(sum(by_leaf.self), 0) AS flat, coalesce(sum(by_node.total) FILTER (node.outer_most), 0) AS cum,
    coalesce(sum(by_leaf.evidence_self), 0) AS evidence_flat,
    coalesce(sum(by_node.evidence_total) FILTER (node.outer_most), 0) AS evidence_cum
  FROM by_node LEFT JOIN by_leaf USING (node_no) JOIN node USING (node_no) JOIN function AS named USING (function_no)
  GROUP BY named.name
)
SELECT
  name AS function, file, package, is_own, flat::BIGINT AS flat, cum::BIGINT AS cum,
  coalesce(100 * evidence_flat / nullif((SELECT sum(evidence) FROM placed), 0), 0) AS flat_percent,
  coalesce(100 * evidence_cum / nullif((SELECT sum(evidence) FROM placed), 0), 0) AS cum_percent
FROM by_function WHERE flat <> 0 OR cum <> 0
ORDER BY abs(flat) DESC, abs(cum) DESC, name;
COMMENT ON MACRO TABLE merged_top_functions IS 'As top_functions, over a list of profiles and some of their samples (profile_weights).';

CREATE MACRO top_functions(profile_id, value_type := NULL) AS TABLE
SELECT * FROM merged_top_functions([profile_id], value_type);
COMMENT ON MACRO TABLE top_functions IS 'Functions of a profile as go tool pprof -top counts them: function, file, package, is_own, flat, cum in the unit of the value type (default: the profile''s own); flat_percent and cum_percent are shares without the samples of the profiler itself.';

CREATE MACRO merged_flamegraph(
  profile_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT stack.nodes, stack.leaf_no, stack.is_profiler, weights.value
  FROM profile_weights(profile_ids, value_type, trace_id, span_id, labels, focus) AS weights JOIN stack USING (stack_no)
), along AS (
  SELECT unnest(nodes) AS node_no, is_profiler, value FROM placed
), by_node AS MATERIALIZED (
  SELECT node_no, sum(value)::BIGINT AS total, bool_and(is_profiler) AS is_profiler FROM along GROUP BY node_no
), by_leaf AS MATERIALIZED (
  SELECT leaf_no AS node_no, sum(value)::BIGINT AS self FROM placed GROUP BY leaf_no
)
SELECT
  0 AS node_no, NULL::INTEGER AS parent_no, 0 AS depth, 'all' AS function, '' AS file, false AS is_own,
  false AS is_runtime, false AS is_profiler, sum(value)::BIGINT AS total,
  coalesce(sum(value) FILTER (leaf_no IS NULL), 0)::BIGINT AS self
FROM placed HAVING count(*) > 0
UNION ALL
SELECT
  node.node_no, coalesce(node.parent_no, 0), node.depth, named.name, named.file, named.is_own, named.is_runtime,
  by_node.is_profiler, by_node.total, coalesce(by_leaf.self, 0)
FROM by_node LEFT JOIN by_leaf USING (node_no) JOIN node USING (node_no) JOIN function AS named USING (function_no)
ORDER BY depth, total DESC, node_no;
COMMENT ON MACRO TABLE merged_flamegraph IS 'As flamegraph, over a list of profiles and some of their samples (profile_weights).';

CREATE MACRO flamegraph(profile_id, value_type := NULL) AS TABLE
SELECT * FROM merged_flamegraph([profile_id], value_type);
COMMENT ON MACRO TABLE flamegraph IS 'The call tree of a profile, callers before what they call: node_no, parent_no (0 is the root, all), depth, function, file, is_own, is_runtime, is_profiler (only there because a profile was taken), total, self.';

CREATE MACRO merged_flamegraph_diff(
  base_ids, new_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT stack.nodes, stack.leaf_no, stack.is_profiler, sides.base, sides.new
  FROM (
    SELECT
      stack_no, coalesce(sum(value) FILTER (NOT is_new), 0) AS base, coalesce(sum(value) FILTER (is_new), 0) AS new
    FROM side_weights(base_ids, new_ids, value_type, trace_id, span_id, labels, focus)
    WHERE value <> 0 GROUP BY stack_no
  ) AS sides
  JOIN stack USING (stack_no)
), along AS (
  SELECT unnest(nodes) AS node_no, is_profiler, new, base FROM placed
), by_node AS MATERIALIZED (
  SELECT
    node_no, sum(new)::BIGINT AS total, sum(base)::BIGINT AS base_total, bool_and(is_profiler) AS is_profiler
  FROM along GROUP BY node_no
), by_leaf AS MATERIALIZED (
  SELECT leaf_no AS node_no, sum(new)::BIGINT AS self, sum(base)::BIGINT AS base_self FROM placed GROUP BY leaf_no
)
SELECT
  0 AS node_no, NULL::INTEGER AS parent_no, 0 AS depth, 'all' AS function, '' AS file, false AS is_own,
  false AS is_runtime, false AS is_profiler, sum(new)::BIGINT AS total,
  coalesce(sum(new) FILTER (leaf_no IS NULL), 0)::BIGINT AS self, sum(base)::BIGINT AS base_total,
  coalesce(sum(base) FILTER (leaf_no IS NULL), 0)::BIGINT AS base_self
FROM placed HAVING count(*) > 0
UNION ALL
SELECT
  node.node_no, coalesce(node.parent_no, 0), node.depth, named.name, named.file, named.is_own, named.is_runtime,
  by_node.is_profiler, by_node.total, coalesce(by_leaf.self, 0), by_node.base_total, coalesce(by_leaf.base_self, 0)
FROM by_node LEFT JOIN by_leaf USING (node_no) JOIN node USING (node_no) JOIN function AS named USING (function_no)
ORDER BY depth, total DESC, node_no;
COMMENT ON MACRO TABLE merged_flamegraph_diff IS 'As flamegraph for two lists of profiles, with base_total and base_self beside total and self.';

CREATE MACRO merged_line_flamegraph(
  profile_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT list_reverse(stack.frames) AS frames, weights.value
  FROM profile_weights(profile_ids, value_type, trace_id, span_id, labels, focus) AS weights JOIN stack USING (stack_no)
), along AS (
  SELECT frames, value, unnest(range(1, len(frames) + 1)) AS depth FROM placed
), by_path AS MATERIALIZED (
  SELECT
    frames[:depth] AS path, sum(value)::BIGINT AS total,
    coalesce(sum(value) FILTER (depth = len(frames)), 0)::BIGINT AS self
  FROM along GROUP BY 1
), numbered AS MATERIALIZED (
  SELECT row_number() OVER (ORDER BY len(path), path) AS node_no, * FROM by_path
)
SELECT
  0 AS node_no, NULL::BIGINT AS parent_no, 0 AS depth, 'all' AS function, '' AS file, 0 AS line, false AS is_own,
  false AS is_runtime, sum(value)::BIGINT AS total, coalesce(sum(value) FILTER (len(frames) = 0), 0)::BIGINT AS self
FROM placed HAVING count(*) > 0
UNION ALL
SELECT
  below.node_no, coalesce(above.node_no, 0), len(below.path), named.name || ':' || frame.line, named.file, frame.line,
  named.is_own, named.is_runtime, below.total, below.self
FROM numbered AS below LEFT JOIN numbered AS above ON above.path = below.path[:len(below.path) - 1]
JOIN frame ON frame.frame_no = below.path[-1] JOIN function AS named USING (function_no)
ORDER BY depth, total DESC, node_no;
COMMENT ON MACRO TABLE merged_line_flamegraph IS 'As flamegraph, but every line of a function is a node of its own: function is written name:line.';

CREATE MACRO function_sides(
  base_ids, new_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH placed AS MATERIALIZED (
  SELECT stack.nodes, stack.leaf_no, own.is_own AS has_own, sides.base, sides.new, sides.base_seen, sides.new_seen
  FROM (
    SELECT
      stack_no, coalesce(sum(value) FILTER (NOT is_new), 0)::BIGINT AS base,
      coalesce(sum(value) FILTER (is_new), 0)::BIGINT AS new,
      coalesce(sum(observations) FILTER (NOT is_new), 0) AS base_seen,
      coalesce(sum(observations) FILTER (is_new), 0) AS new_seen
    FROM side_weights(base_ids, new_ids, value_type, trace_id, span_id, labels, focus) GROUP BY stack_no
  ) AS sides
  JOIN stack USING (stack_no) LEFT JOIN function AS own ON own.function_no = stack.own_no
  WHERE NOT stack.is_profiler
), totals AS (
  SELECT
    sum(base)::BIGINT AS base, sum(new)::BIGINT AS new, sum(base_seen) AS base_seen, sum(new_seen) AS new_seen,
    coalesce(sum(base_seen) FILTER (has_own), 0) AS base_own_seen,
    coalesce(sum(new_seen) FILTER (has_own), 0) AS new_own_seen
  FROM placed
), along AS (
  SELECT unnest(nodes) AS node_no, base, new, base_seen, new_seen FROM placed
), by_node AS MATERIALIZED (
  SELECT node_no, sum(base) AS base, sum(new) AS new, sum(base_seen) AS base_seen, sum(new_seen) AS new_seen
  FROM along GROUP BY node_no
), by_leaf AS MATERIALIZED (
  SELECT
    leaf_no AS node_no, sum(base) AS base_self, sum(new) AS new_self, sum(base_seen) AS base_seen_self,
    sum(new_seen) AS new_seen_self
  FROM placed GROUP BY leaf_no
), by_function AS (
  SELECT
    named.name AS function, min(named.file) AS file, bool_or(named.is_own) AS is_own,
    coalesce(sum(base_self), 0)::BIGINT AS base_flat, coalesce(sum(new_self), 0)::BIGINT AS new_flat,
    coalesce(sum(base) FILTER (node.outer_most), 0)::BIGINT AS base_cum,
    coalesce(sum(new) FILTER (node.outer_most), 0)::BIGINT AS new_cum,
    coalesce(sum(base_seen_self), 0) AS base_flat_seen, coalesce(sum(new_seen_self), 0) AS new_flat_seen,
    coalesce(sum(base_seen) FILTER (node.outer_most), 0) AS base_cum_seen,
    coalesce(sum(new_seen) FILTER (node.outer_most), 0) AS new_cum_seen
  FROM by_node LEFT JOIN by_leaf USING (node_no) JOIN node USING (node_no) JOIN function AS named USING (function_no)
  GROUP BY named.name
)
SELECT
  by_function.*, totals.base AS base_total, totals.new AS new_total,
  CASE WHEN of_own THEN totals.base_own_seen ELSE totals.base_seen END AS base_total_seen,
  CASE WHEN of_own THEN totals.new_own_seen ELSE totals.new_seen END AS new_total_seen
FROM by_function, totals, LATERAL (
  SELECT by_function.is_own AND least(totals.base_own_seen, totals.new_own_seen) >= 10 AS of_own
) AS tested_on;
COMMENT ON MACRO TABLE function_sides IS 'Two lists of profiles side by side, without the samples of the profiler itself: per function flat and cum values of both and the observations behind them, and the totals; base_total_seen and new_total_seen, of which a share is tested, are those of stacks with a function of the program''s own in them when the function is one of these.';

CREATE MACRO merged_diff(
  base_ids, new_ids, value_type := NULL, trace_id := NULL, span_id := NULL, labels := NULL, focus := NULL
) AS TABLE
WITH lengths AS (
  SELECT false AS is_new, profile.duration_ns FROM (SELECT unnest(base_ids) AS profile_id) JOIN profile USING (profile_id)
  UNION ALL
  SELECT true, profile.duration_ns FROM (SELECT unnest(new_ids) AS profile_id) JOIN profile USING (profile_id)
), seconds AS (
  SELECT
    CASE WHEN min(duration_ns) > 0 THEN sum(duration_ns) FILTER (NOT is_new) / 1e9 ELSE 1.0 END AS base_s,
    CASE WHEN min(duration_ns) > 0 THEN sum(duration_ns) FILTER (is_new) / 1e9 ELSE 1.0 END AS new_s
  FROM lengths
), wanted AS (
  SELECT coalesce(value_type, max_by(profile.value_types[profile.default_value]."type", profile.started_at)) AS name
  FROM (SELECT unnest(new_ids) AS profile_id) JOIN profile USING (profile_id)
), by_function AS MATERIALIZED (
  FROM function_sides(base_ids, new_ids, (SELECT name FROM wanted), trace_id, span_id, labels, focus)
  WHERE base_total IS NOT NULL AND (SELECT count(DISTINCT is_new) FROM lengths) = 2
), tested AS (
  SELECT
    by_function.*,
    CASE WHEN greatest(base_flat_seen, new_flat_seen) >= 10 THEN weaker(
      z_of_rate(base_flat_seen, new_flat_seen, seconds.base_s, seconds.new_s),
      z_of_share(base_flat_seen, new_flat_seen, base_total_seen, new_total_seen)) END AS flat_z,
    CASE WHEN greatest(base_cum_seen, new_cum_seen) >= 10 THEN weaker(
      z_of_rate(base_cum_seen, new_cum_seen, seconds.base_s, seconds.new_s),
      z_of_share(base_cum_seen, new_cum_seen, base_total_seen, new_total_seen)) END AS cum_z
  FROM by_function, seconds
), ranked AS MATERIALIZED (
  SELECT
    tested.*, two_sided_p(flat_z) AS flat_p, two_sided_p(cum_z) AS cum_p,
    row_number() OVER (ORDER BY abs(flat_z) DESC NULLS LAST) / count(flat_z) OVER () * 0.01 AS flat_limit,
    row_number() OVER (ORDER BY abs(cum_z) DESC NULLS LAST) / count(cum_z) OVER () * 0.01 AS cum_limit
  FROM tested
), limits AS (
  SELECT max(flat_p) FILTER (flat_p <= flat_limit) AS flat_p, max(cum_p) FILTER (cum_p <= cum_limit) AS cum_p FROM ranked
)
SELECT
  ranked.function, ranked.file, ranked.is_own, base_flat, base_cum, new_flat, new_cum,
  new_flat - base_flat AS flat, new_cum - base_cum AS cum,
  coalesce(100 * new_flat / nullif(new_total, 0), 0) - coalesce(100 * base_flat / nullif(base_total, 0), 0) AS flat_points,
  coalesce(100 * new_cum / nullif(new_total, 0), 0) - coalesce(100 * base_cum / nullif(base_total, 0), 0) AS cum_points,
  flat_z AS z, coalesce(ranked.flat_p <= limits.flat_p, false) AS significant,
  ranked.cum_z, coalesce(ranked.cum_p <= limits.cum_p, false) AS cum_significant
FROM ranked, limits
WHERE base_flat <> 0 OR base_cum <> 0 OR new_flat <> 0 OR new_cum <> 0
ORDER BY significant DESC, abs(new_flat - base_flat) DESC, ranked.function;
COMMENT ON MACRO TABLE merged_diff IS 'As profile_diff, between two lists of profiles and of some of their samples (profile_weights); rates are per second of all profiles of a side.';

CREATE MACRO profile_diff(base_id, new_id, value_type := NULL) AS TABLE
SELECT * FROM merged_diff([base_id], [new_id], value_type);
COMMENT ON MACRO TABLE profile_diff IS 'Before and after per function, without the samples of the profiler itself: values of both, new minus base (flat, cum), change of the share in percentage points, z and significant by flat, cum_z and cum_significant by cum. significant: at most 1 % of those are false.';

CREATE MACRO span_cpu(trace_id) AS TABLE
WITH once AS MATERIALIZED (
  SELECT * FROM span WHERE span.trace_id = lower(trace_id)
  QUALIFY row_number() OVER (PARTITION BY span.span_id ORDER BY span.duration_ns DESC, span.start_time_unix_nano) = 1
), cpu AS MATERIALIZED (
  SELECT
    profile.profile_no, profile.profile_id, profile.service_name, profile.service_instance_id, profile.period,
    value_place(profile.value_types, NULL, 'cpu') AS place, epoch_ns(profile.started_at) AS starts,
    epoch_ns(profile.started_at) + profile.duration_ns AS ends
  FROM profile WHERE profile.kind = 'cpu' AND profile.service_name IN (SELECT once.service_name FROM once)
), labelled AS MATERIALIZED (
  SELECT sample.profile_no, count(sample.trace_id) > 0 AS has_traces FROM sample JOIN cpu USING (profile_no) GROUP BY 1
), seen AS MATERIALIZED (
  SELECT
    sample.profile_no, sample.span_id, sum(sample.observations[cpu.place]) AS samples,
    sum(sample."values"[cpu.place]) AS cpu_ns
  FROM sample JOIN cpu USING (profile_no) WHERE sample.trace_id = lower(trace_id) GROUP BY 1, 2
), beside AS (
  SELECT
    once.span_id, cpu.profile_no, cpu.profile_id, cpu.period, coalesce(labelled.has_traces, false) AS has_traces,
    greatest(0, least(once.start_time_unix_nano + once.duration_ns, cpu.ends) - greatest(once.start_time_unix_nano, cpu.starts))
      AS profiled_ns
  FROM once JOIN cpu USING (service_name) LEFT JOIN labelled USING (profile_no)
  WHERE cpu.service_instance_id = once.service_instance_id OR NOT EXISTS (
    SELECT 1 FROM cpu AS same WHERE same.service_name = once.service_name AND same.service_instance_id = once.service_instance_id
  )
), counted AS (
  SELECT
    beside.span_id, count(*) AS profiles, sum(beside.profiled_ns) AS profiled_ns,
    sum(beside.profiled_ns / nullif(beside.period, 0)) AS expected_samples, max(beside.period) AS period_ns,
    bool_or(beside.has_traces AND beside.profiled_ns > 0) AS has_traces, coalesce(sum(seen.samples), 0) AS samples,
    coalesce(sum(seen.cpu_ns), 0) AS cpu_ns,
    coalesce(list(beside.profile_id) FILTER (beside.profiled_ns > 0 OR seen.samples > 0), []) AS profile_ids
  FROM beside LEFT JOIN seen ON seen.profile_no = beside.profile_no AND seen.span_id = beside.span_id
  GROUP BY beside.span_id
), elsewhere AS (
  SELECT sum(samples) AS samples FROM seen WHERE span_id IS NULL OR span_id NOT IN (SELECT once.span_id FROM once)
), entries AS (
  SELECT once.service_name, once.span_id, once.name FROM once
  LEFT JOIN once AS parent ON parent.span_id = once.parent_span_id AND parent.service_name = once.service_name
  WHERE parent.span_id IS NULL
), entry_labels AS (
  SELECT once.service_name, sum(counted.samples) AS samples, min(entries.name) AS name
  FROM counted JOIN once USING (span_id) LEFT JOIN entries USING (span_id)
  WHERE counted.samples > 0 GROUP BY 1 HAVING bool_and(entries.span_id IS NOT NULL)
)
SELECT
  once.trace_id, once.span_id, once.parent_span_id, once.name, once.service_name, once.service_instance_id, once.start_time,
  once.duration_ns, coalesce(counted.profiled_ns, 0)::BIGINT AS profiled_ns,
  coalesce(counted.expected_samples, 0) AS expected_samples, coalesce(counted.samples, 0) AS samples,
  coalesce(counted.cpu_ns, 0)::BIGINT AS cpu_ns,
  100 * counted.cpu_ns / nullif(counted.profiled_ns, 0) AS cpu_percent,
  greatest(0, 100 - 100 * counted.cpu_ns / nullif(counted.profiled_ns, 0)) AS waiting_percent,
  coalesce(counted.profile_ids, []) AS profile_ids,
  CASE
    WHEN counted.samples > 0 THEN NULL
    WHEN counted.profiles IS NULL THEN 'no CPU profile of this service'
    WHEN counted.profiled_ns = 0 THEN 'no CPU profile ran during this span'
    WHEN NOT counted.has_traces THEN 'the samples of the profile carry no trace ids'
    WHEN counted.expected_samples < 1 THEN printf('too short: %.1f ms beside the profiler, one sample per %.1f ms of CPU',
      counted.profiled_ns / 1e6, counted.period_ns / 1e6)
    WHEN elsewhere.samples > 0 THEN printf('%.0f samples of this trace carry no id of its spans', elsewhere.samples)
    WHEN entry_labels.samples > 0 AND once.span_id NOT IN (SELECT entries.span_id FROM entries) THEN printf(
      'the labels name only the first span in the process: %.0f samples of %s', entry_labels.samples, entry_labels.name)
    ELSE printf('waiting: on CPU in none of %.0f possible samples', counted.expected_samples)
  END AS reason
FROM once LEFT JOIN counted USING (span_id) LEFT JOIN entry_labels ON entry_labels.service_name = once.service_name, elsewhere
ORDER BY once.start_time_unix_nano, once.span_id;
COMMENT ON MACRO TABLE span_cpu IS 'Per span of a trace: profiled_ns it ran beside a CPU profile, expected_samples had it been on CPU all that time, samples seen, cpu_ns, cpu_percent and waiting_percent of profiled_ns, the profiles, and the reason when no sample was seen.';
