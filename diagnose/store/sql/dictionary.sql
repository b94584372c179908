-- name: known_stacks
-- The numbers of those stacks that are known; `place` says which one it is.
SELECT place, stack_no AS number FROM wanted JOIN stack ON stack_id = id

-- name: known_parts
-- The same for what new stacks are made of. dictionary: 0 functions, 1 frames, 2 nodes.
SELECT 0 AS dictionary, place, function_no AS number FROM wanted JOIN function ON function_id = id WHERE dictionary = 0
UNION ALL
SELECT 1, place, frame_no FROM wanted JOIN frame ON frame_id = id WHERE dictionary = 1
UNION ALL
SELECT 2, place, node_no FROM wanted JOIN node ON node_id = id WHERE dictionary = 2

-- name: last_numbers
SELECT
  (SELECT coalesce(max(function_no), 0) FROM function), (SELECT coalesce(max(frame_no), 0) FROM frame),
  (SELECT coalesce(max(node_no), 0) FROM node), (SELECT coalesce(max(stack_no), 0) FROM stack)
