-- What becomes of alerts and incidents after the first message, and why.

ALTER TABLE episode ADD COLUMN ended_by VARCHAR;
ALTER TABLE episode ADD COLUMN expires_at TIMESTAMPTZ;
ALTER TABLE episode ADD COLUMN listed_at TIMESTAMPTZ;
ALTER TABLE episode ADD COLUMN suppressed VARCHAR;
ALTER TABLE episode ADD COLUMN rule_uid VARCHAR;
ALTER TABLE episode ADD COLUMN "values" MAP(VARCHAR, DOUBLE);
COMMENT ON COLUMN episode.ended_by IS 'How an end that no message told was found out: expired or vanished; NULL otherwise.';
COMMENT ON COLUMN episode.expires_at IS 'When an alert sent directly by Prometheus ends unless it is sent again; NULL for others.';
COMMENT ON COLUMN episode.listed_at IS 'When one of our Alertmanagers first listed it; NULL if none did.';
COMMENT ON COLUMN episode.suppressed IS 'silenced, inhibited or muted, while Alertmanager says so; NULL otherwise.';

ALTER TABLE incident ADD COLUMN merged_into VARCHAR;
COMMENT ON COLUMN incident.merged_into IS 'The incident that took over its alerts, and takes over further ones of its group; NULL if none did.';

CREATE TABLE decision (
    incident_id VARCHAR NOT NULL, "at" TIMESTAMPTZ NOT NULL, step VARCHAR NOT NULL, subject VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL, reason VARCHAR NOT NULL
);
COMMENT ON TABLE decision IS 'What was decided about an incident and why: rule, service, profile kinds, targets; each once.';
