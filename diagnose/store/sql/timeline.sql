-- name: save_lines
INSERT INTO timeline_entry BY NAME
SELECT one.* FROM (SELECT unnest(from_json($rows::VARCHAR, '[{
    "incident_id": "VARCHAR", "at": "TIMESTAMPTZ", "kind": "VARCHAR", "text": "VARCHAR"
}]')) AS one);
