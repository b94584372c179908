-- name: not-known
-- question: What was ruled out, and what could not be known?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT notes.kind, notes.statement, notes.fix
FROM notes JOIN chosen USING (incident_id)
WHERE notes.revision = chosen.revision
ORDER BY notes.kind, notes.rank
