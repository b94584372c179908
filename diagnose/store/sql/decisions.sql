-- name: save_decisions
-- Each decision once; answers those that are new.
INSERT INTO decision BY NAME
SELECT $incident_id AS incident_id, $at::TIMESTAMPTZ AS "at", one.*
FROM (SELECT unnest(from_json($rows, '[{
    "step": "VARCHAR", "subject": "VARCHAR", "outcome": "VARCHAR", "reason": "VARCHAR"
}]'), recursive := true)) AS one
WHERE NOT EXISTS (
    SELECT 1 FROM decision AS known
    WHERE known.incident_id = $incident_id AND known.step = one.step AND known.subject = one.subject
      AND known.outcome = one.outcome AND known.reason = one.reason
)
RETURNING step, subject, outcome, reason;

-- name: decisions_of
SELECT "at", step, subject, outcome, reason FROM decision WHERE incident_id = $incident_id ORDER BY "at", rowid;
