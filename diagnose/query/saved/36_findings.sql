-- name: findings
-- question: What does the report say, and what shows it?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
)
SELECT
  findings.rank, findings.kind, findings.confidence, findings.statement, findings.subject."name" AS subject, findings.sql
FROM findings JOIN chosen USING (incident_id)
WHERE findings.revision = chosen.revision
ORDER BY findings.rank
