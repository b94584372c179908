-- name: last_function
SELECT coalesce(max(function_no), 0) FROM function

-- name: all_of_function
SELECT function_id AS id, function_no AS number FROM function

-- name: some_of_function
SELECT place, function_no AS number FROM wanted JOIN function ON function_id = id

-- name: last_frame
SELECT coalesce(max(frame_no), 0) FROM frame

-- name: all_of_frame
SELECT frame_id AS id, frame_no AS number FROM frame

-- name: some_of_frame
SELECT place, frame_no AS number FROM wanted JOIN frame ON frame_id = id

-- name: last_node
SELECT coalesce(max(node_no), 0) FROM node

-- name: all_of_node
SELECT node_id AS id, node_no AS number FROM node

-- name: some_of_node
SELECT place, node_no AS number FROM wanted JOIN node ON node_id = id

-- name: last_stack
SELECT coalesce(max(stack_no), 0) FROM stack

-- name: all_of_stack
SELECT stack_id AS id, stack_no AS number FROM stack

-- name: some_of_stack
SELECT place, stack_no AS number FROM wanted JOIN stack ON stack_id = id
