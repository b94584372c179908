-- The bodies of profiles lie in files (store/bodies.py, which has moved them): a checkpoint writes all rows of a row group
-- anew, so every one rewrote the bodies of up to 2,000 profiles, while nothing else could be written.

ALTER TABLE profile DROP COLUMN body;
COMMENT ON TABLE profile IS 'One profile. basis: interval (what happened in started_at + duration_ns), snapshot (the state then) or since_start (summed up since the process began). default_value is a position in value_types, from 1. sha256 names the file with the body, bytes is its size.';
