-- Attributes of spans arrive as lists of pairs: building a MAP costs twice as much as all the rest of the insert, because
-- its keys are compared with each other (docs/decisions/0006). The view `span` shows what the table `span` was.

CREATE TABLE live_span (
    trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_span_id VARCHAR, trace_state VARCHAR, name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, service_name VARCHAR NOT NULL, service_instance_id VARCHAR NOT NULL,
    start_time TIMESTAMPTZ NOT NULL, start_time_unix_nano BIGINT NOT NULL, duration_ns BIGINT NOT NULL,
    status_code VARCHAR NOT NULL, status_message VARCHAR,
    http_request_method VARCHAR, http_route VARCHAR, http_response_status_code SMALLINT,
    server_address VARCHAR, url_path VARCHAR, db_system_name VARCHAR, rpc_method VARCHAR, error_type VARCHAR,
    resource_id BIGINT NOT NULL, scope_name VARCHAR NOT NULL,
    attributes STRUCT("key" VARCHAR, "value" VARCHAR)[] NOT NULL,
    events STRUCT("time" TIMESTAMPTZ, "name" VARCHAR, attributes STRUCT("key" VARCHAR, "value" VARCHAR)[])[] NOT NULL,
    links STRUCT(trace_id VARCHAR, span_id VARCHAR, attributes STRUCT("key" VARCHAR, "value" VARCHAR)[])[] NOT NULL
);
COMMENT ON TABLE live_span IS 'One span, in arrival order. No key of attributes occurs twice in a list.';

INSERT INTO live_span
SELECT * REPLACE (
    map_entries(attributes) AS attributes,
    list_transform(events, lambda each: struct_pack(
        "time" := each."time", "name" := each."name", attributes := map_entries(each.attributes))) AS events,
    list_transform(links, lambda each: struct_pack(
        trace_id := each.trace_id, span_id := each.span_id, attributes := map_entries(each.attributes))) AS links
)
FROM span;
DROP TABLE span;

CREATE VIEW span AS
SELECT * REPLACE (
    map_from_entries(attributes) AS attributes,
    list_transform(events, lambda each: struct_pack(
        "time" := each."time", "name" := each."name", attributes := map_from_entries(each.attributes))) AS events,
    list_transform(links, lambda each: struct_pack(
        trace_id := each.trace_id, span_id := each.span_id, attributes := map_from_entries(each.attributes))) AS links
)
FROM live_span;
COMMENT ON VIEW span IS 'One span, in arrival order, attributes as MAP.';
