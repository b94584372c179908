-- The documented views and macros over spans, metrics and profiles (docs/reference/sql.md is generated from the comments).
-- Tables are named without their database: the same script runs in the service, in exports and in snapshots.
-- Queries over stacks add the samples up first, MATERIALIZED: unnesting below such a join fails on DuckDB 2.0.0.
-- In macros a parameter hides a column of the same name, so those columns are written with their table.

CREATE VIEW spans AS
SELECT
  trace_id, span_id, parent_span_id, name, kind, span.service_name, span.service_instance_id, start_time,
  start_time_unix_nano, duration_ns, status_code, status_message, http_request_method, http_route,
  http_response_status_code, server_address, url_path, db_system_name, rpc_method, error_type, trace_state, scope_name,
  span.attributes, resource.attributes AS resource_attributes, events, links
FROM span LEFT JOIN resource USING (resource_id);
COMMENT ON VIEW spans IS 'One row per span, in arrival order.';
COMMENT ON COLUMN spans.trace_id IS 'Trace, 32 hex digits.';
COMMENT ON COLUMN spans.span_id IS 'Span, 16 hex digits.';
COMMENT ON COLUMN spans.parent_span_id IS 'The span that caused this one; NULL for a root.';
COMMENT ON COLUMN spans.name IS 'Name given by the program, such as GET /buy.';
COMMENT ON COLUMN spans.kind IS 'INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER or UNSPECIFIED.';
COMMENT ON COLUMN spans.service_name IS 'service.name of the process.';
COMMENT ON COLUMN spans.service_instance_id IS 'service.instance.id of the process; empty when it has none.';
COMMENT ON COLUMN spans.start_time IS 'When it began, UTC, microseconds.';
COMMENT ON COLUMN spans.start_time_unix_nano IS 'When it began, nanoseconds since 1970.';
COMMENT ON COLUMN spans.duration_ns IS 'How long it took, nanoseconds; 0 when the end was not after the start.';
COMMENT ON COLUMN spans.status_code IS 'UNSET, OK or ERROR.';
COMMENT ON COLUMN spans.status_message IS 'What the program said about an error.';
COMMENT ON COLUMN spans.http_request_method IS 'Attribute http.request.method, or http.method of older conventions.';
COMMENT ON COLUMN spans.http_route IS 'Attribute http.route.';
COMMENT ON COLUMN spans.http_response_status_code IS 'Attribute http.response.status_code, or http.status_code of older conventions.';
COMMENT ON COLUMN spans.server_address IS 'Attribute server.address, or net.peer.name of older conventions.';
COMMENT ON COLUMN spans.url_path IS 'Attribute url.path, or http.target of older conventions.';
COMMENT ON COLUMN spans.db_system_name IS 'Attribute db.system.name, or db.system of older conventions.';
COMMENT ON COLUMN spans.rpc_method IS 'Attribute rpc.method.';
COMMENT ON COLUMN spans.error_type IS 'Attribute error.type.';
COMMENT ON COLUMN spans.trace_state IS 'W3C trace state, NULL when empty.';
COMMENT ON COLUMN spans.scope_name IS 'Instrumentation scope that made the span.';
COMMENT ON COLUMN spans.attributes IS 'All attributes as text, those with a column of their own too.';
COMMENT ON COLUMN spans.resource_attributes IS 'Attributes of the process as text.';
COMMENT ON COLUMN spans.events IS 'What happened during the span, such as exceptions: time, name, attributes.';
COMMENT ON COLUMN spans.links IS 'Spans of other traces it belongs to: trace_id, span_id, attributes.';

CREATE VIEW metrics AS
SELECT
  name, "type", unit, metric_series.service_name, coalesce(resource.service_instance_id, '') AS service_instance_id,
  metric_series.attributes, "time", start_time, value, stale, temporality, is_monotonic, source, series_id
FROM metric_point JOIN metric_series USING (series_id) LEFT JOIN resource USING (resource_id);
COMMENT ON VIEW metrics IS 'One row per point of a gauge, a sum or a summary.';
COMMENT ON COLUMN metrics.name IS 'Metric name as sent.';
COMMENT ON COLUMN metrics."type" IS 'gauge, sum, summary, or unknown for what Prometheus was asked for.';
COMMENT ON COLUMN metrics.unit IS 'Unit as sent, such as s or By; may be empty.';
COMMENT ON COLUMN metrics.service_name IS 'service.name of the process.';
COMMENT ON COLUMN metrics.service_instance_id IS 'service.instance.id of the process; empty when it has none.';
COMMENT ON COLUMN metrics.attributes IS 'Attributes of the point as text; for Prometheus its labels.';
COMMENT ON COLUMN metrics."time" IS 'When it was measured, UTC.';
COMMENT ON COLUMN metrics.start_time IS 'Since when a sum is counted; NULL when unknown.';
COMMENT ON COLUMN metrics.value IS 'The value in unit; NULL for a stale marker.';
COMMENT ON COLUMN metrics.stale IS 'True when the series ended here.';
COMMENT ON COLUMN metrics.temporality IS 'cumulative, delta, or empty.';
COMMENT ON COLUMN metrics.is_monotonic IS 'True for a sum that only grows.';
COMMENT ON COLUMN metrics.source IS 'otlp: pushed to us; prometheus: a window asked of Prometheus.';
COMMENT ON COLUMN metrics.series_id IS 'Hash of name, attributes and origin: equal for points of one series.';

CREATE VIEW histograms AS
SELECT
  name, unit, metric_series.service_name, coalesce(resource.service_instance_id, '') AS service_instance_id,
  metric_series.attributes, start_time, "time", count, sum, min, max, bounds, bucket_counts, scale, zero_count,
  positive_offset, positive_counts, negative_offset, negative_counts, temporality, source, series_id
FROM metric_histogram JOIN metric_series USING (series_id) LEFT JOIN resource USING (resource_id);
COMMENT ON VIEW histograms IS 'One row per point of a histogram; explicit ones have bounds, exponential ones scale.';
COMMENT ON COLUMN histograms.name IS 'Metric name as sent.';
COMMENT ON COLUMN histograms.unit IS 'Unit of the observations, such as s.';
COMMENT ON COLUMN histograms.service_name IS 'service.name of the process.';
COMMENT ON COLUMN histograms.service_instance_id IS 'service.instance.id of the process; empty when it has none.';
COMMENT ON COLUMN histograms.attributes IS 'Attributes of the point as text.';
COMMENT ON COLUMN histograms.start_time IS 'Since when it is counted; NULL when unknown.';
COMMENT ON COLUMN histograms."time" IS 'When it was read, UTC.';
COMMENT ON COLUMN histograms.count IS 'Number of observations.';
COMMENT ON COLUMN histograms.sum IS 'Sum of the observations; NULL when not sent.';
COMMENT ON COLUMN histograms.min IS 'Smallest observation; NULL when not sent.';
COMMENT ON COLUMN histograms.max IS 'Largest observation; NULL when not sent.';
COMMENT ON COLUMN histograms.bounds IS 'Upper bounds of the buckets, rising; the last bucket has none.';
COMMENT ON COLUMN histograms.bucket_counts IS 'Observations per bucket, one more than bounds.';
COMMENT ON COLUMN histograms.scale IS 'Exponential: the base of the buckets is 2^(2^-scale).';
COMMENT ON COLUMN histograms.zero_count IS 'Exponential: observations near zero.';
COMMENT ON COLUMN histograms.positive_offset IS 'Exponential: index of the first positive bucket.';
COMMENT ON COLUMN histograms.positive_counts IS 'Exponential: observations per positive bucket.';
COMMENT ON COLUMN histograms.negative_offset IS 'Exponential: index of the first negative bucket.';
COMMENT ON COLUMN histograms.negative_counts IS 'Exponential: observations per negative bucket.';
COMMENT ON COLUMN histograms.temporality IS 'cumulative, delta, or empty.';
COMMENT ON COLUMN histograms.source IS 'otlp or prometheus.';
COMMENT ON COLUMN histograms.series_id IS 'Hash of name, attributes and origin: equal for points of one series.';

CREATE VIEW exemplars AS
SELECT
  metric_name, coalesce(metric_series.service_name, '') AS service_name, metric_series.attributes, "time", value,
  trace_id, span_id, exemplar.attributes AS filtered_attributes, metric_series.source, series_id
FROM exemplar LEFT JOIN metric_series USING (series_id);
COMMENT ON VIEW exemplars IS 'Single observations that name their trace.';
COMMENT ON COLUMN exemplars.metric_name IS 'Metric name as sent.';
COMMENT ON COLUMN exemplars.service_name IS 'Service of the series.';
COMMENT ON COLUMN exemplars.attributes IS 'Attributes of the series as text; for Prometheus its labels.';
COMMENT ON COLUMN exemplars."time" IS 'When it was observed, UTC.';
COMMENT ON COLUMN exemplars.value IS 'What was observed, in the unit of the metric.';
COMMENT ON COLUMN exemplars.trace_id IS 'The trace it happened in; NULL when none was sent.';
COMMENT ON COLUMN exemplars.span_id IS 'The span it happened in; NULL when none was sent.';
COMMENT ON COLUMN exemplars.filtered_attributes IS 'Attributes of the observation that the series does not have.';
COMMENT ON COLUMN exemplars.source IS 'otlp or prometheus.';
COMMENT ON COLUMN exemplars.series_id IS 'The series it belongs to.';

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

CREATE MACRO p50(x) AS quantile_cont(x, 0.5);
COMMENT ON MACRO p50 IS 'Median; p50(duration_ns).';
CREATE MACRO p95(x) AS quantile_cont(x, 0.95);
COMMENT ON MACRO p95 IS '95th percentile.';
CREATE MACRO p99(x) AS quantile_cont(x, 0.99);
COMMENT ON MACRO p99 IS '99th percentile.';

-- Significance, the same as pprof/significance.py.

CREATE MACRO z_of_rate(before, after, before_s, after_s) AS
CASE
  WHEN before + after <= 0 THEN 0.0
  ELSE (after / after_s - before / before_s) / sqrt((before + after) / (before_s * after_s))
END;
COMMENT ON MACRO z_of_rate IS 'Did events per second change? Counts, and the seconds they were counted in.';

CREATE MACRO share_variance(before, after, all_before, all_after) AS
(before + after) / (all_before + all_after) * (1 - (before + after) / (all_before + all_after))
  * (1 / all_before + 1 / all_after);
COMMENT ON MACRO share_variance IS 'Variance of the difference of two shares when nothing changed.';

CREATE MACRO z_of_share(before, after, all_before, all_after) AS
CASE
  WHEN all_before <= 0 OR all_after <= 0 THEN 0.0
  WHEN share_variance(before, after, all_before, all_after) > 0
    THEN (after / all_after - before / all_before) / sqrt(share_variance(before, after, all_before, all_after))
  ELSE 0.0
END;
COMMENT ON MACRO z_of_share IS 'Did the share of all events change? Counts, and all events of either side.';

CREATE MACRO weaker(first, second) AS
CASE WHEN first * second <= 0 THEN 0.0 WHEN abs(second) < abs(first) THEN second ELSE first END;
COMMENT ON MACRO weaker IS 'The z nearer to zero; 0 when they disagree about the direction.';

-- W. J. Cody, Rational Chebyshev approximations for the error function, 1969; x is not negative.
CREATE MACRO erfc_small(x) AS
1 - x * ((((1.85777706184603153e-1 * x * x + 3.16112374387056560e0) * x * x + 1.13864154151050156e2) * x * x
      + 3.77485237685302021e2) * x * x + 3.20937758913846947e3)
  / ((((x * x + 2.36012909523441209e1) * x * x + 2.44024637934444173e2) * x * x + 1.28261652607737228e3) * x * x
      + 2.84423683343917062e3);

CREATE MACRO erfc_middle(x) AS
exp(-x * x) * ((((((((2.15311535474403846e-8 * x + 5.64188496988670089e-1) * x + 8.88314979438837594e0) * x
      + 6.61191906371416295e1) * x + 2.98635138197400131e2) * x + 8.81952221241769090e2) * x + 1.71204761263407058e3) * x
      + 2.05107837782607147e3) * x + 1.23033935479799725e3)
  / ((((((((x + 1.57449261107098347e1) * x + 1.17693950891312499e2) * x + 5.37181101862009858e2) * x
      + 1.62138957456669019e3) * x + 3.29079923573345963e3) * x + 4.36261909014324716e3) * x + 3.43936767414372164e3) * x
      + 1.23033935480374942e3);

CREATE MACRO erfc_large(x) AS
exp(-x * x) / x * (5.6418958354775628695e-1 - 1 / (x * x)
  * (((((1.63153871373020978e-2 / (x * x) + 3.05326634961232344e-1) / (x * x) + 3.60344899949804439e-1) / (x * x)
      + 1.25781726111229246e-1) / (x * x) + 1.60837851487422766e-2) / (x * x) + 6.58749161529837803e-4)
  / (((((1 / (x * x) + 2.56852019228982242e0) / (x * x) + 1.87295284992346725e0) / (x * x)
      + 5.27905102951428412e-1) / (x * x) + 6.05183413124413191e-2) / (x * x) + 2.33520497626869185e-3));

CREATE MACRO two_sided_p(z) AS
CASE
  WHEN abs(z) / sqrt(2.0::DOUBLE) <= 0.46875 THEN erfc_small(abs(z)::DOUBLE / sqrt(2.0::DOUBLE))
  WHEN abs(z) / sqrt(2.0::DOUBLE) <= 4 THEN erfc_middle(abs(z)::DOUBLE / sqrt(2.0::DOUBLE))
  ELSE erfc_large(abs(z)::DOUBLE / sqrt(2.0::DOUBLE))
END;
COMMENT ON MACRO two_sided_p IS 'Chance of a z at least this far from 0 when nothing changed.';

CREATE MACRO value_place(profile_types, default_place, wanted) AS
CASE
  WHEN wanted IS NULL THEN default_place
  ELSE nullif(list_position(list_transform(profile_types, lambda each: each."type"), wanted), 0)
END;
COMMENT ON MACRO value_place IS 'Where a value type stands in profile.value_types, from 1; NULL when it does not.';

CREATE MACRO top_functions(profile_id, value_type := NULL) AS TABLE
WITH chosen AS (
  SELECT profile.profile_no, value_place(profile.value_types, profile.default_value, value_type) AS place
  FROM profile WHERE profile.profile_id = profile_id
), weighed AS MATERIALIZED (
  SELECT sample.stack_no, sum(sample."values"[chosen.place])::BIGINT AS value
  FROM sample JOIN chosen USING (profile_no) GROUP BY sample.stack_no
), placed AS MATERIALIZED (
  SELECT stack.nodes, stack.leaf_no, weighed.value, CASE WHEN stack.is_profiler THEN 0 ELSE weighed.value END AS evidence
  FROM weighed JOIN stack USING (stack_no) WHERE weighed.value <> 0
), along AS (
  SELECT unnest(nodes) AS node_no, leaf_no, value, evidence FROM placed
), by_node AS MATERIALIZED (
  SELECT
    node_no, sum(value) AS total, coalesce(sum(value) FILTER (node_no = leaf_no), 0) AS self,
    sum(evidence) AS evidence_total, coalesce(sum(evidence) FILTER (node_no = leaf_no), 0) AS evidence_self
  FROM along GROUP BY node_no
), by_function AS (
  SELECT
    named.name, min(named.file) AS file, min(named.package) AS package, bool_or(named.is_own) AS is_own,
    sum(by_node.self) AS flat, coalesce(sum(by_node.total) FILTER (node.outer_most), 0) AS cum,
    sum(by_node.evidence_self) AS evidence_flat,
    coalesce(sum(by_node.evidence_total) FILTER (node.outer_most), 0) AS evidence_cum
  FROM by_node JOIN node USING (node_no) JOIN function AS named USING (function_no) GROUP BY named.name
)
SELECT
  name AS function, file, package, is_own, flat::BIGINT AS flat, cum::BIGINT AS cum,
  coalesce(100 * evidence_flat / nullif((SELECT sum(evidence) FROM placed), 0), 0) AS flat_percent,
  coalesce(100 * evidence_cum / nullif((SELECT sum(evidence) FROM placed), 0), 0) AS cum_percent
FROM by_function WHERE flat <> 0 OR cum <> 0
ORDER BY abs(flat) DESC, abs(cum) DESC, name;
COMMENT ON MACRO TABLE top_functions IS 'Functions of a profile as go tool pprof -top counts them: function, file, package, is_own, flat, cum in the unit of the value type (default: the profile''s own); flat_percent and cum_percent are shares without the samples of the profiler itself.';

CREATE MACRO flamegraph(profile_id, value_type := NULL) AS TABLE
WITH chosen AS (
  SELECT profile.profile_no, value_place(profile.value_types, profile.default_value, value_type) AS place
  FROM profile WHERE profile.profile_id = profile_id
), weighed AS MATERIALIZED (
  SELECT sample.stack_no, sum(sample."values"[chosen.place])::BIGINT AS value
  FROM sample JOIN chosen USING (profile_no) GROUP BY sample.stack_no
), placed AS MATERIALIZED (
  SELECT stack.nodes, stack.leaf_no, stack.is_profiler, weighed.value
  FROM weighed JOIN stack USING (stack_no) WHERE weighed.value <> 0
), along AS (
  SELECT unnest(nodes) AS node_no, leaf_no, is_profiler, value FROM placed
), by_node AS MATERIALIZED (
  SELECT
    node_no, sum(value) AS total, coalesce(sum(value) FILTER (node_no = leaf_no), 0) AS self,
    bool_and(is_profiler) AS is_profiler
  FROM along GROUP BY node_no
)
SELECT
  0 AS node_no, NULL::INTEGER AS parent_no, 0 AS depth, 'all' AS function, '' AS file, false AS is_own,
  false AS is_runtime, false AS is_profiler, sum(value)::BIGINT AS total,
  coalesce(sum(value) FILTER (leaf_no IS NULL), 0)::BIGINT AS self
FROM placed HAVING count(*) > 0
UNION ALL
SELECT
  node.node_no, coalesce(node.parent_no, 0), node.depth, named.name, named.file, named.is_own, named.is_runtime,
  by_node.is_profiler, by_node.total::BIGINT, by_node.self::BIGINT
FROM by_node JOIN node USING (node_no) JOIN function AS named USING (function_no)
ORDER BY depth, total DESC, node_no;
COMMENT ON MACRO TABLE flamegraph IS 'The call tree of a profile, callers before what they call: node_no, parent_no (0 is the root, all), depth, function, file, is_own, is_runtime, is_profiler (only there because a profile was taken), total, self.';

CREATE MACRO profile_diff(base_id, new_id, value_type := NULL) AS TABLE
WITH wanted AS (
  SELECT coalesce(value_type, profile.value_types[profile.default_value]."type") AS name
  FROM profile WHERE profile.profile_id = new_id
), sides AS (
  SELECT false AS is_new, profile.profile_no, profile.duration_ns, value_place(profile.value_types, NULL, wanted.name) AS place
  FROM profile, wanted WHERE profile.profile_id = base_id
  UNION ALL
  SELECT true, profile.profile_no, profile.duration_ns, value_place(profile.value_types, NULL, wanted.name)
  FROM profile, wanted WHERE profile.profile_id = new_id
), chosen AS MATERIALIZED (
  SELECT * FROM sides WHERE (SELECT count(place) FROM sides) = 2
), seconds AS (
  SELECT
    CASE WHEN min(duration_ns) > 0 THEN max(duration_ns) FILTER (NOT is_new) / 1e9 ELSE 1.0 END AS base_s,
    CASE WHEN min(duration_ns) > 0 THEN max(duration_ns) FILTER (is_new) / 1e9 ELSE 1.0 END AS new_s
  FROM chosen
), weighed AS MATERIALIZED (
  SELECT
    sample.stack_no,
    coalesce(sum(sample."values"[chosen.place]) FILTER (NOT chosen.is_new), 0)::BIGINT AS base,
    coalesce(sum(sample."values"[chosen.place]) FILTER (chosen.is_new), 0)::BIGINT AS new,
    coalesce(sum(sample.observations[chosen.place]) FILTER (NOT chosen.is_new), 0) AS base_seen,
    coalesce(sum(sample.observations[chosen.place]) FILTER (chosen.is_new), 0) AS new_seen
  FROM sample JOIN chosen USING (profile_no) GROUP BY sample.stack_no
), placed AS MATERIALIZED (
  SELECT stack.nodes, stack.leaf_no, weighed.base, weighed.new, weighed.base_seen, weighed.new_seen
  FROM weighed JOIN stack USING (stack_no) WHERE NOT stack.is_profiler
), totals AS (
  SELECT sum(base) AS base, sum(new) AS new, sum(base_seen) AS base_seen, sum(new_seen) AS new_seen FROM placed
), along AS (
  SELECT unnest(nodes) AS node_no, leaf_no, base, new, base_seen, new_seen FROM placed
), by_node AS MATERIALIZED (
  SELECT
    node_no, sum(base) AS base, sum(new) AS new, sum(base_seen) AS base_seen, sum(new_seen) AS new_seen,
    sum(base) FILTER (node_no = leaf_no) AS base_self, sum(new) FILTER (node_no = leaf_no) AS new_self,
    sum(base_seen) FILTER (node_no = leaf_no) AS base_seen_self, sum(new_seen) FILTER (node_no = leaf_no) AS new_seen_self
  FROM along GROUP BY node_no
), by_function AS (
  SELECT
    named.name, min(named.file) AS file, bool_or(named.is_own) AS is_own,
    coalesce(sum(base_self), 0) AS base_flat, coalesce(sum(new_self), 0) AS new_flat,
    coalesce(sum(base) FILTER (node.outer_most), 0) AS base_cum, coalesce(sum(new) FILTER (node.outer_most), 0) AS new_cum,
    coalesce(sum(base_seen_self), 0) AS base_flat_seen, coalesce(sum(new_seen_self), 0) AS new_flat_seen,
    coalesce(sum(base_seen) FILTER (node.outer_most), 0) AS base_cum_seen,
    coalesce(sum(new_seen) FILTER (node.outer_most), 0) AS new_cum_seen
  FROM by_node JOIN node USING (node_no) JOIN function AS named USING (function_no) GROUP BY named.name
), tested AS (
  SELECT
    by_function.*,
    CASE WHEN greatest(base_flat_seen, new_flat_seen) >= 10 THEN weaker(
      z_of_rate(base_flat_seen, new_flat_seen, seconds.base_s, seconds.new_s),
      z_of_share(base_flat_seen, new_flat_seen, totals.base_seen, totals.new_seen)) END AS flat_z,
    CASE WHEN greatest(base_cum_seen, new_cum_seen) >= 10 THEN weaker(
      z_of_rate(base_cum_seen, new_cum_seen, seconds.base_s, seconds.new_s),
      z_of_share(base_cum_seen, new_cum_seen, totals.base_seen, totals.new_seen)) END AS cum_z
  FROM by_function, totals, seconds
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
  ranked.name AS function, ranked.file, ranked.is_own,
  base_flat::BIGINT AS base_flat, base_cum::BIGINT AS base_cum, new_flat::BIGINT AS new_flat, new_cum::BIGINT AS new_cum,
  (new_flat - base_flat)::BIGINT AS flat, (new_cum - base_cum)::BIGINT AS cum,
  coalesce(100 * new_flat / nullif(totals.new, 0), 0) - coalesce(100 * base_flat / nullif(totals.base, 0), 0) AS flat_points,
  coalesce(100 * new_cum / nullif(totals.new, 0), 0) - coalesce(100 * base_cum / nullif(totals.base, 0), 0) AS cum_points,
  flat_z AS z, coalesce(ranked.flat_p <= limits.flat_p, false) AS significant,
  ranked.cum_z, coalesce(ranked.cum_p <= limits.cum_p, false) AS cum_significant
FROM ranked, limits, totals
WHERE base_flat <> 0 OR base_cum <> 0 OR new_flat <> 0 OR new_cum <> 0
ORDER BY significant DESC, abs(new_flat - base_flat) DESC, ranked.name;
COMMENT ON MACRO TABLE profile_diff IS 'Before and after per function, without the samples of the profiler itself: values of both, new minus base (flat, cum), change of the share in percentage points, z and significant by flat, cum_z and cum_significant by cum. significant: at most 1 % of those are false.';

CREATE MACRO trace(id) AS TABLE
WITH RECURSIVE once AS MATERIALIZED (
  SELECT * FROM span WHERE span.trace_id = lower(id)
  QUALIFY row_number() OVER (PARTITION BY span.span_id ORDER BY span.duration_ns DESC, span.start_time_unix_nano) = 1
), reached AS (
  SELECT span_id, 0 AS depth, [printf('%020d', start_time_unix_nano) || span_id] AS path
  FROM once WHERE parent_span_id IS NULL OR parent_span_id NOT IN (SELECT span_id FROM once)
  UNION ALL
  SELECT child.span_id, reached.depth + 1, list_append(reached.path, printf('%020d', child.start_time_unix_nano) || child.span_id)
  FROM reached JOIN once AS child ON child.parent_span_id = reached.span_id WHERE reached.depth < 500
), children AS (
  SELECT
    parent.span_id, greatest(child.start_time_unix_nano, parent.start_time_unix_nano) AS starts,
    least(child.start_time_unix_nano + child.duration_ns, parent.start_time_unix_nano + parent.duration_ns) AS ends
  FROM once AS child JOIN once AS parent ON child.parent_span_id = parent.span_id AND child.span_id <> parent.span_id
), covered AS (
  SELECT span_id, greatest(0, ends - greatest(starts, coalesce(max(ends) OVER earlier, starts))) AS covered_ns
  FROM children WHERE ends > starts
  WINDOW earlier AS (PARTITION BY span_id ORDER BY starts, ends ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), waited AS (
  SELECT span_id, sum(covered_ns) AS covered_ns FROM covered GROUP BY span_id
)
SELECT
  once.trace_id, once.span_id, once.parent_span_id, coalesce(reached.depth, 0) AS depth, once.name, once.kind,
  once.service_name, once.service_instance_id, once.start_time, once.start_time_unix_nano,
  once.start_time_unix_nano - min(once.start_time_unix_nano) OVER () AS offset_ns, once.duration_ns,
  (once.duration_ns - coalesce(waited.covered_ns, 0))::BIGINT AS self_ns, once.status_code, once.status_message,
  once.http_route, once.http_response_status_code, once.attributes, resource.attributes AS resource_attributes,
  once.events, once.links
FROM once LEFT JOIN reached USING (span_id) LEFT JOIN waited USING (span_id) LEFT JOIN resource USING (resource_id)
ORDER BY reached.path NULLS LAST, once.start_time_unix_nano, once.span_id;
COMMENT ON MACRO TABLE trace IS 'The spans of a trace in the order of a waterfall: depth in the tree, offset_ns from the first start, self_ns not covered by children. A span whose parent is missing is a root; a span sent twice counts once.';

CREATE MACRO service_map(since, until) AS TABLE
WITH callers AS MATERIALIZED (
  SELECT trace_id, span_id, service_name FROM span
  WHERE start_time >= since - INTERVAL 1 HOUR AND start_time < until
), called AS MATERIALIZED (
  SELECT
    span.trace_id, span.parent_span_id, callers.service_name AS caller, span.service_name AS callee, span.duration_ns,
    span.status_code
  FROM span JOIN callers ON callers.trace_id = span.trace_id AND callers.span_id = span.parent_span_id
  WHERE span.start_time >= since AND span.start_time < until AND callers.service_name <> span.service_name
), outside AS (
  SELECT
    span.service_name AS caller,
    coalesce(span.attributes['peer.service'], span.db_system_name, span.server_address) AS callee,
    span.duration_ns, span.status_code
  FROM span ANTI JOIN called ON called.trace_id = span.trace_id AND called.parent_span_id = span.span_id
  WHERE span.start_time >= since AND span.start_time < until AND span.kind IN ('CLIENT', 'PRODUCER')
), edges AS (
  SELECT caller, callee, 'service' AS callee_kind, duration_ns, status_code FROM called
  UNION ALL
  SELECT caller, callee, 'external', duration_ns, status_code FROM outside WHERE callee IS NOT NULL
)
SELECT
  caller, callee, callee_kind, count(*) AS calls, count(*) FILTER (status_code = 'ERROR') AS errors,
  quantile_cont(duration_ns, 0.5) AS p50_ns, quantile_cont(duration_ns, 0.99) AS p99_ns
FROM edges GROUP BY caller, callee, callee_kind ORDER BY calls DESC, caller, callee;
COMMENT ON MACRO TABLE service_map IS 'Who called whom in [since, until): caller, callee, callee_kind (service, or external when only the caller sends spans), calls, errors, p50_ns, p99_ns of the callee.';

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
COMMENT ON MACRO TABLE span_cpu IS 'Per span of a trace: profiled_ns it ran beside a CPU profile, expected_samples had it been on CPU all that time, samples seen, cpu_ns and cpu_percent of profiled_ns, the profiles, and the reason when no sample was seen.';

CREATE MACRO compare_attributes(service, since, until) AS TABLE
WITH entries AS MATERIALIZED (
  SELECT * FROM span WHERE span.service_name = service AND span.start_time >= since AND span.start_time < until
), judged AS MATERIALIZED (
  SELECT
    entries.name, entries.attributes, entries.resource_id,
    entries.status_code = 'ERROR' OR (count(*) OVER same_name >= 20
      AND entries.duration_ns > quantile_cont(entries.duration_ns, 0.95) OVER same_name) AS suffers
  FROM entries
  WHERE entries.kind IN ('SERVER', 'CONSUMER')
    OR NOT EXISTS (SELECT 1 FROM entries AS other WHERE other.kind IN ('SERVER', 'CONSUMER'))
  WINDOW same_name AS (PARTITION BY entries.name)
), totals AS (
  SELECT count(*) FILTER (suffers) AS suffering, count(*) FILTER (NOT suffers) AS fine FROM judged
), properties AS (
  SELECT suffers, 'name' AS "key", name AS "value" FROM judged
  UNION ALL
  SELECT suffers, entry."key", entry."value" FROM (SELECT suffers, unnest(map_entries(attributes)) AS entry FROM judged)
  UNION ALL
  SELECT suffers, entry."key", entry."value"
  FROM (
    SELECT judged.suffers, unnest(map_entries(resource.attributes)) AS entry FROM judged JOIN resource USING (resource_id)
  )
), counted AS (
  SELECT
    "key", "value", count(*) FILTER (suffers) AS suffering_count, count(*) FILTER (NOT suffers) AS fine_count
  FROM properties GROUP BY "key", "value" HAVING count(*) >= 5
)
SELECT
  "key", "value", suffering_count, coalesce(100 * suffering_count / nullif(totals.suffering, 0), 0) AS suffering_percent,
  fine_count, coalesce(100 * fine_count / nullif(totals.fine, 0), 0) AS fine_percent,
  z_of_share(fine_count, suffering_count, totals.fine, totals.suffering) AS z
FROM counted, totals
WHERE z_of_share(fine_count, suffering_count, totals.fine, totals.suffering) <> 0
ORDER BY abs(z) DESC, "key", "value";
COMMENT ON MACRO TABLE compare_attributes IS 'What distinguishes the failed and the slowest 5 % of the requests of a service in [since, until) from the rest, per attribute value (of the span and of the process): suffering_count, suffering_percent, fine_count, fine_percent, z of the difference.';
