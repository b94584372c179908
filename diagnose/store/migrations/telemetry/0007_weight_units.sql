-- Values in table weight are divided by what all of a profile's have in common: those of a CPU profile are multiples of its
-- period, 30 bits each in place of 8. NULL: not divided, as before.

ALTER TABLE profile ADD COLUMN weight_units BIGINT[];
COMMENT ON TABLE weight IS 'The samples of one profile, added up by value type and stack. weight_no is 64 times profile_no plus the place of the value type, from 0; value is in units of profile.weight_units at that place; a stack without anything has no row.';
