-- What a capture cost the target, and which builds of a program were seen where.

ALTER TABLE capture ADD COLUMN seconds INTEGER;
ALTER TABLE capture ADD COLUMN requests INTEGER;
ALTER TABLE capture ADD COLUMN took_ms DOUBLE;

CREATE TABLE build (
    service_name VARCHAR NOT NULL, service_instance_id VARCHAR NOT NULL, build_id VARCHAR NOT NULL,
    first_seen TIMESTAMPTZ NOT NULL, last_seen TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE build IS 'Which build of a program ran on an instance, as its profiles say; one row per change of it.';
