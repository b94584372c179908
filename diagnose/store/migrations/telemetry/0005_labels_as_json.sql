-- Labels of samples arrive as JSON objects: inserting two maps cost as much as all the other columns. The view `sample`
-- shows maps, and files have them.

ALTER TABLE live_sample ALTER labels TYPE VARCHAR USING to_json(labels)::VARCHAR;
ALTER TABLE live_sample ALTER numbers TYPE VARCHAR USING to_json(numbers)::VARCHAR;
COMMENT ON TABLE live_sample IS 'values and observations are in the order of profile.value_types; observations: how many independent ones stand behind a value. labels and numbers are JSON objects.';

CREATE OR REPLACE VIEW sample AS
SELECT * REPLACE (
    from_json(labels, '"MAP(VARCHAR, VARCHAR)"') AS labels, from_json(numbers, '"MAP(VARCHAR, BIGINT)"') AS numbers
)
FROM live_sample;
