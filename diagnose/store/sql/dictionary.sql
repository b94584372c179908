-- name: known_numbers
-- What is known already of the ids of one profile: which dictionary, which row of the profile's table, its number.
SELECT 0 AS dictionary, place, function_no AS number FROM wanted_function JOIN function ON function_id = id
UNION ALL
SELECT 1, place, frame_no FROM wanted_frame JOIN frame ON frame_id = id
UNION ALL
SELECT 2, place, node_no FROM wanted_node JOIN node ON node_id = id
UNION ALL
SELECT 3, place, stack_no FROM wanted_stack JOIN stack ON stack_id = id

-- name: last_numbers
SELECT
  (SELECT coalesce(max(function_no), 0) FROM function), (SELECT coalesce(max(frame_no), 0) FROM frame),
  (SELECT coalesce(max(node_no), 0) FROM node), (SELECT coalesce(max(stack_no), 0) FROM stack)
