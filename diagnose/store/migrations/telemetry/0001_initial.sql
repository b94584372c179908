-- Spans, metric points and profiles in arrival order. No primary key and no index: see docs/decisions.
-- Tables are named in the singular; the documented views (views/*.sql) in the plural.

CREATE TABLE resource (
    resource_id BIGINT NOT NULL, service_name VARCHAR NOT NULL, service_namespace VARCHAR NOT NULL,
    service_instance_id VARCHAR NOT NULL, service_version VARCHAR NOT NULL,
    deployment_environment_name VARCHAR NOT NULL, attributes MAP(VARCHAR, VARCHAR) NOT NULL, first_seen TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE resource IS 'What telemetry came from; resource_id is a content hash of the attributes.';

CREATE TABLE span (
    trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_span_id VARCHAR, trace_state VARCHAR, name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, service_name VARCHAR NOT NULL, service_instance_id VARCHAR NOT NULL,
    start_time TIMESTAMPTZ NOT NULL, start_time_unix_nano BIGINT NOT NULL, duration_ns BIGINT NOT NULL,
    status_code VARCHAR NOT NULL, status_message VARCHAR,
    http_request_method VARCHAR, http_route VARCHAR, http_response_status_code SMALLINT,
    server_address VARCHAR, url_path VARCHAR, db_system_name VARCHAR, rpc_method VARCHAR, error_type VARCHAR,
    resource_id BIGINT NOT NULL, scope_name VARCHAR NOT NULL, attributes MAP(VARCHAR, VARCHAR) NOT NULL,
    events STRUCT("time" TIMESTAMPTZ, "name" VARCHAR, attributes MAP(VARCHAR, VARCHAR))[] NOT NULL,
    links STRUCT(trace_id VARCHAR, span_id VARCHAR, attributes MAP(VARCHAR, VARCHAR))[] NOT NULL
);
COMMENT ON TABLE span IS 'One span, in arrival order.';

CREATE TABLE metric_series (
    series_id BIGINT NOT NULL, name VARCHAR NOT NULL, type VARCHAR NOT NULL, unit VARCHAR NOT NULL,
    temporality VARCHAR NOT NULL, is_monotonic BOOLEAN NOT NULL, service_name VARCHAR NOT NULL,
    attributes MAP(VARCHAR, VARCHAR) NOT NULL, resource_id BIGINT, source VARCHAR NOT NULL, first_seen TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE metric_series IS 'One series; series_id is a content hash. source: otlp, or prometheus for windows that were queried.';

CREATE TABLE metric_point (
    series_id BIGINT NOT NULL, "time" TIMESTAMPTZ NOT NULL, start_time TIMESTAMPTZ, value DOUBLE, stale BOOLEAN NOT NULL
);
COMMENT ON TABLE metric_point IS 'One value of a gauge or a sum.';

CREATE TABLE metric_histogram (
    series_id BIGINT NOT NULL, start_time TIMESTAMPTZ, "time" TIMESTAMPTZ NOT NULL, count UBIGINT NOT NULL, sum DOUBLE,
    min DOUBLE, max DOUBLE, bounds DOUBLE[], bucket_counts UBIGINT[], scale INTEGER, zero_count UBIGINT,
    positive_offset INTEGER, positive_counts UBIGINT[], negative_offset INTEGER, negative_counts UBIGINT[]
);
COMMENT ON TABLE metric_histogram IS 'One point of a histogram, explicit or exponential (then scale is set).';

CREATE TABLE exemplar (
    series_id BIGINT NOT NULL, metric_name VARCHAR NOT NULL, "time" TIMESTAMPTZ NOT NULL, value DOUBLE NOT NULL,
    trace_id VARCHAR, span_id VARCHAR, attributes MAP(VARCHAR, VARCHAR) NOT NULL
);
COMMENT ON TABLE exemplar IS 'One exemplar, from OTLP or asked of Prometheus when an alert arrived.';

CREATE TABLE profile (
    profile_no INTEGER NOT NULL, profile_id VARCHAR NOT NULL, capture_id VARCHAR, service_name VARCHAR NOT NULL,
    service_instance_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, basis VARCHAR NOT NULL, started_at TIMESTAMPTZ NOT NULL,
    duration_ns BIGINT NOT NULL, sample_count BIGINT NOT NULL, build_id VARCHAR NOT NULL,
    value_types STRUCT("type" VARCHAR, unit VARCHAR)[] NOT NULL, default_value INTEGER NOT NULL, period BIGINT NOT NULL,
    labels MAP(VARCHAR, VARCHAR) NOT NULL, sha256 VARCHAR NOT NULL, bytes BIGINT NOT NULL,
    body BLOB NOT NULL
);
COMMENT ON TABLE profile IS 'One profile. basis: interval (what happened in started_at + duration_ns), snapshot (the state then) or since_start (summed up since the process began). default_value is a position in value_types, from 1. body is gzipped pprof.';

CREATE TABLE function (
    function_no INTEGER NOT NULL, function_id BIGINT NOT NULL, name VARCHAR NOT NULL, file VARCHAR NOT NULL,
    start_line BIGINT NOT NULL, package VARCHAR NOT NULL, is_std BOOLEAN NOT NULL, is_runtime BOOLEAN NOT NULL,
    is_own BOOLEAN NOT NULL
);
CREATE TABLE frame (
    frame_no INTEGER NOT NULL, frame_id BIGINT NOT NULL, function_no INTEGER NOT NULL, line BIGINT NOT NULL, inlined BOOLEAN NOT NULL
);
CREATE TABLE node (
    node_no INTEGER NOT NULL, node_id BIGINT NOT NULL, parent_no INTEGER, function_no INTEGER NOT NULL, depth INTEGER NOT NULL,
    outer_most BOOLEAN NOT NULL
);
CREATE TABLE stack (
    stack_no INTEGER NOT NULL, stack_id BIGINT NOT NULL, leaf_no INTEGER, own_no INTEGER, is_profiler BOOLEAN NOT NULL,
    nodes INTEGER[] NOT NULL, frames INTEGER[] NOT NULL
);
CREATE TABLE sample (
    profile_no INTEGER NOT NULL, stack_no INTEGER NOT NULL, "values" BIGINT[] NOT NULL, observations DOUBLE[] NOT NULL,
    trace_id VARCHAR, span_id VARCHAR, labels MAP(VARCHAR, VARCHAR) NOT NULL, numbers MAP(VARCHAR, BIGINT) NOT NULL
);
COMMENT ON TABLE function IS 'Each function of any profile once; *_no are small numbers given here, *_id content hashes (pprof/columns.py).';
COMMENT ON TABLE frame IS 'A function and a line in it.';
COMMENT ON TABLE node IS 'A place in the call tree over all profiles: the names from the root to here. outer_most: no ancestor has the same name.';
COMMENT ON TABLE stack IS 'Each stack once. nodes run root → leaf, frames leaf → root; own_no is the function to name to a human; is_profiler: exists only because a profile was taken.';
COMMENT ON TABLE sample IS 'values and observations are in the order of profile.value_types; observations: how many independent ones stand behind a value.';

CREATE TABLE received_body (
    body_id BIGINT NOT NULL, received_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE received_body IS 'Hashes of the OTLP bodies of the last half hour or so: a body sent again is not stored twice.';
