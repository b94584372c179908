-- name: guilty-lines
-- question: At which line?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), taken AS (
  SELECT profile.profile_no, profile.value_types, profile.default_value
  FROM captures JOIN chosen USING (incident_id) JOIN profile USING (profile_id)
  WHERE captures.kind = 'cpu' AND captures.trigger <> 'resolved'
), weighed AS MATERIALIZED (
  SELECT stack_no, sum("values"[default_value]) AS value
  FROM sample JOIN taken USING (profile_no) GROUP BY stack_no
), lines AS (
  SELECT unnest(stack.frames) AS frame_no, generate_subscripts(stack.frames, 1) AS place, stack.own_no, value, stack_no
  FROM weighed JOIN stack USING (stack_no) WHERE NOT stack.is_profiler
), own AS (
  SELECT lines.stack_no, lines.value, function.name, function.file, frame.line, lines.place
  FROM lines JOIN frame USING (frame_no) JOIN function USING (function_no)
  WHERE function.function_no = lines.own_no
  QUALIFY row_number() OVER (PARTITION BY lines.stack_no ORDER BY lines.place) = 1
)
SELECT
  name AS function, file || ':' || line AS line, round(sum(value) / 1e6, 0) AS cpu_ms,
  round(100 * sum(value) / nullif(sum(sum(value)) OVER (), 0), 1) AS percent
FROM own GROUP BY name, file, own.line ORDER BY cpu_ms DESC, function, line LIMIT 20
