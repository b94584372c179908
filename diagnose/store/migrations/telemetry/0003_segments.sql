-- Rows move from the live tables into Parquet segments within minutes (docs/decisions/0007). The views named as the tables
-- were show both; the service replaces them whenever the segments change, in the same transaction.

ALTER TABLE metric_point RENAME TO live_metric_point;
ALTER TABLE metric_histogram RENAME TO live_metric_histogram;
ALTER TABLE exemplar RENAME TO live_exemplar;
ALTER TABLE sample RENAME TO live_sample;

CREATE VIEW metric_point AS SELECT * FROM live_metric_point;
CREATE VIEW metric_histogram AS SELECT * FROM live_metric_histogram;
CREATE VIEW exemplar AS SELECT * FROM live_exemplar;
CREATE VIEW sample AS SELECT * FROM live_sample;

CREATE TABLE segment (
    file VARCHAR NOT NULL, "table" VARCHAR NOT NULL, pinned BOOLEAN NOT NULL,
    arrived_since TIMESTAMPTZ NOT NULL, arrived_until TIMESTAMPTZ NOT NULL,
    since TIMESTAMPTZ, until TIMESTAMPTZ, row_count BIGINT NOT NULL, bytes BIGINT NOT NULL
);
COMMENT ON TABLE segment IS 'The Parquet files that belong to the data; a file in the folder that is not named here is none of it.';
COMMENT ON COLUMN segment.file IS 'Path below the folder segments.';
COMMENT ON COLUMN segment."table" IS 'Whose rows it has: span, metric_point, metric_histogram, exemplar, sample.';
COMMENT ON COLUMN segment.pinned IS 'True when it has only what incidents need: it stays as long as they do.';
COMMENT ON COLUMN segment.arrived_since IS 'Its first row left the live table not before.';
COMMENT ON COLUMN segment.arrived_until IS 'Its last row left the live table then.';
COMMENT ON COLUMN segment.since IS 'The first time of a row: start_time of spans, time of metrics; NULL for samples.';
COMMENT ON COLUMN segment.until IS 'The last time of a row.';
COMMENT ON COLUMN segment.row_count IS 'How many rows it has.';
COMMENT ON COLUMN segment.bytes IS 'Its size.';

CREATE TABLE trace_time (
    trace_key BIGINT NOT NULL, since TIMESTAMPTZ NOT NULL, until TIMESTAMPTZ NOT NULL, moved_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE trace_time IS 'When the spans of a trace in segments started: tells which of them to open. One row a trace and move.';
COMMENT ON COLUMN trace_time.trace_key IS 'The last 15 digits of the trace id as a number.';
COMMENT ON COLUMN trace_time.since IS 'Start of the first span.';
COMMENT ON COLUMN trace_time.until IS 'Start of the last span.';
COMMENT ON COLUMN trace_time.moved_at IS 'When they moved into a segment.';
