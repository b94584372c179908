-- The documented views and macros over spans and metrics (docs/reference/sql.md is generated from the comments).
-- Tables are named without their database: the same script runs in the service, in exports and in snapshots.
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

CREATE MACRO trace_key(id) AS coalesce(TRY_CAST('0x' || right(id, 15) AS BIGINT), 0);
COMMENT ON MACRO trace_key IS 'The last 15 digits of a trace id as a number.';

CREATE MACRO trace(id, since := TIMESTAMPTZ '-infinity', until := TIMESTAMPTZ 'infinity') AS TABLE
WITH RECURSIVE once AS MATERIALIZED (
  SELECT * FROM span WHERE span.trace_id = lower(id) AND span.start_time BETWEEN since AND until
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
COMMENT ON MACRO TABLE trace IS 'The spans of a trace in the order of a waterfall: depth in the tree, offset_ns from the first start, self_ns not covered by children. A span whose parent is missing is a root; a span sent twice counts once. Whoever knows when its spans started gives since and until.';

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
  WHERE span.start_time >= since AND span.start_time < until AND list_contains(['CLIENT', 'PRODUCER'], span.kind)
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
