-- What was told to us and what we decided: small tables, one writer, every row of lasting interest.
-- Tables are named in the singular; the documented views (views/*.sql) in the plural.

CREATE TABLE message (
    message_id VARCHAR NOT NULL, source VARCHAR NOT NULL, group_key VARCHAR NOT NULL, receiver VARCHAR NOT NULL,
    status VARCHAR NOT NULL, external_url VARCHAR NOT NULL, notification_reason VARCHAR NOT NULL,
    route_labels MAP(VARCHAR, VARCHAR) NOT NULL, truncated_alerts INTEGER NOT NULL,
    received_at TIMESTAMPTZ NOT NULL, body BLOB NOT NULL
);
COMMENT ON TABLE message IS 'One request that brought alerts, with its body as received.';

CREATE TABLE alert_event (
    event_key UUID NOT NULL, message_id VARCHAR NOT NULL, episode_id VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL,
    status VARCHAR NOT NULL, starts_at TIMESTAMPTZ NOT NULL, ends_at TIMESTAMPTZ, received_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE alert_event IS 'One alert in one message. event_key is a hash of source, group key, fingerprint, startsAt and status and occurs once; fingerprint is as sent.';

CREATE TABLE episode (
    episode_id VARCHAR NOT NULL, incident_id VARCHAR, fingerprint VARCHAR NOT NULL, alertname VARCHAR NOT NULL,
    status VARCHAR NOT NULL, source VARCHAR NOT NULL, group_key VARCHAR NOT NULL,
    labels MAP(VARCHAR, VARCHAR) NOT NULL, annotations MAP(VARCHAR, VARCHAR) NOT NULL, generator_url VARCHAR NOT NULL,
    expr VARCHAR, active_at TIMESTAMPTZ, starts_at TIMESTAMPTZ NOT NULL, ends_at TIMESTAMPTZ,
    received_at TIMESTAMPTZ NOT NULL, value DOUBLE
);
COMMENT ON TABLE episode IS 'One firing period of one alert; fingerprint leaves the ignored labels out. incident_id is NULL when no rule matched.';

CREATE TABLE incident (
    incident_id VARCHAR NOT NULL, group_id VARCHAR NOT NULL, status VARCHAR NOT NULL, title VARCHAR NOT NULL,
    service_name VARCHAR NOT NULL, severity VARCHAR NOT NULL, started_at TIMESTAMPTZ NOT NULL, ended_at TIMESTAMPTZ,
    opened_at TIMESTAMPTZ NOT NULL, revision INTEGER NOT NULL
);
COMMENT ON TABLE incident IS 'What a human sees: the episodes of one service that are open together.';

CREATE TABLE incident_trace (
    incident_id VARCHAR NOT NULL, trace_id VARCHAR NOT NULL, found_by VARCHAR NOT NULL, confidence DOUBLE NOT NULL,
    rank INTEGER NOT NULL, metric_value DOUBLE, seen_at TIMESTAMPTZ, evidence VARCHAR NOT NULL
);
COMMENT ON TABLE incident_trace IS 'A trace of an incident, how it was found and how sure that is; one row per incident and trace.';

CREATE TABLE capture (
    capture_id VARCHAR NOT NULL, incident_id VARCHAR, target VARCHAR NOT NULL, service_name VARCHAR NOT NULL,
    service_instance_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, phase VARCHAR NOT NULL, trigger VARCHAR NOT NULL,
    status VARCHAR NOT NULL, reason VARCHAR NOT NULL, http_status INTEGER, requested_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, lag_ms DOUBLE, bytes BIGINT, profile_id VARCHAR
);
COMMENT ON TABLE capture IS 'One attempt to fetch one profile from one target; a refusal is a row too.';

CREATE TABLE finding (
    finding_id VARCHAR NOT NULL, incident_id VARCHAR NOT NULL, revision INTEGER NOT NULL, rank INTEGER NOT NULL,
    kind VARCHAR NOT NULL, statement VARCHAR NOT NULL,
    subject STRUCT("type" VARCHAR, "name" VARCHAR, file VARCHAR, line INTEGER) NOT NULL,
    effect STRUCT("value" DOUBLE, unit VARCHAR, before DOUBLE, during DOUBLE) NOT NULL,
    significance STRUCT("method" VARCHAR, z DOUBLE, p DOUBLE) NOT NULL,
    confidence VARCHAR NOT NULL, evidence VARCHAR[] NOT NULL, sql VARCHAR NOT NULL, weight DOUBLE NOT NULL
);
COMMENT ON TABLE finding IS 'A claim about the cause in one revision of a report, with the query that shows it.';

CREATE TABLE note (
    incident_id VARCHAR NOT NULL, revision INTEGER NOT NULL, rank INTEGER NOT NULL, kind VARCHAR NOT NULL,
    statement VARCHAR NOT NULL, fix VARCHAR NOT NULL, sql VARCHAR NOT NULL
);
COMMENT ON TABLE note IS 'A sentence that is no cause, in the order shown: kind is ruled_out or missing_evidence.';

CREATE TABLE report (
    incident_id VARCHAR NOT NULL, revision INTEGER NOT NULL, created_at TIMESTAMPTZ NOT NULL, reason VARCHAR NOT NULL,
    html VARCHAR NOT NULL, markdown VARCHAR NOT NULL, json VARCHAR NOT NULL
);
COMMENT ON TABLE report IS 'One revision of the page of an incident, as rendered.';

CREATE TABLE delivery (
    delivery_id VARCHAR NOT NULL, incident_id VARCHAR NOT NULL, revision INTEGER NOT NULL, sink VARCHAR NOT NULL,
    status VARCHAR NOT NULL, attempts INTEGER NOT NULL, last_error VARCHAR, created_at TIMESTAMPTZ NOT NULL,
    next_attempt_at TIMESTAMPTZ, delivered_at TIMESTAMPTZ, external_ref VARCHAR
);
COMMENT ON TABLE delivery IS 'One revision of a report for one sink: pending, delivered, or dead after its last attempt.';

CREATE TABLE timeline_entry (
    incident_id VARCHAR NOT NULL, "at" TIMESTAMPTZ NOT NULL, kind VARCHAR NOT NULL, text VARCHAR NOT NULL
);
COMMENT ON TABLE timeline_entry IS 'What happened to an incident and when.';

CREATE TABLE timing (
    incident_id VARCHAR NOT NULL, step VARCHAR NOT NULL, ms DOUBLE NOT NULL
);
COMMENT ON TABLE timing IS 'Milliseconds from the webhook of an incident to a step, the first time it was reached.';

CREATE TABLE rejected_request (
    path VARCHAR NOT NULL, reason VARCHAR NOT NULL, field VARCHAR, body_sha256 VARCHAR NOT NULL,
    body BLOB NOT NULL, body_bytes BIGINT NOT NULL,
    first_at TIMESTAMPTZ NOT NULL, last_at TIMESTAMPTZ NOT NULL, repeats INTEGER NOT NULL
);
COMMENT ON TABLE rejected_request IS 'A body that was refused and why; of a long one the beginning. Repeats are counted, not multiplied.';

CREATE TABLE sql_audit (
    "at" TIMESTAMPTZ NOT NULL, who VARCHAR NOT NULL, sql VARCHAR NOT NULL, elapsed_ms DOUBLE NOT NULL,
    row_count BIGINT NOT NULL, outcome VARCHAR NOT NULL
);
COMMENT ON TABLE sql_audit IS 'Who asked what through the SQL endpoint, and how it ended.';
