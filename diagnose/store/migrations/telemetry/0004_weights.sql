-- What the samples of a profile add up to per stack, for questions that do not choose among the samples: trace ids and
-- labels split a stack into many, so there is half as much to read, and no list to take apart.

CREATE TABLE weight (
    weight_no INTEGER NOT NULL, stack_no INTEGER NOT NULL, value BIGINT NOT NULL, observations DOUBLE NOT NULL
);
COMMENT ON TABLE weight IS 'The samples of one profile, added up by value type and stack. weight_no is 64 times profile_no plus the place of the value type, from 0; a stack without anything has no row.';

INSERT INTO weight
SELECT
    64 * profile_no + place - 1, stack_no, coalesce(try_cast(sum(value) AS BIGINT), 0) AS value,
    sum(observations) AS observations
FROM (
    SELECT
        profile_no, stack_no, unnest("values") AS value, unnest(observations) AS observations,
        generate_subscripts("values", 1) AS place
    FROM sample
)
WHERE place <= 64
GROUP BY profile_no, place, stack_no
HAVING sum(value) <> 0 OR sum(observations) <> 0
ORDER BY profile_no, place, stack_no;
