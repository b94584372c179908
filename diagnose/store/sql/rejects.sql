-- name: count_repeat
-- Answers the row if this body was refused before for this reason.
UPDATE rejected_request SET repeats = repeats + 1, last_at = $at
WHERE path = $path AND body_sha256 = $body_sha256 AND reason = $reason RETURNING repeats;

-- name: forget_oldest
-- Keep the $keep refused last.
DELETE FROM rejected_request
WHERE rowid IN (SELECT rowid FROM rejected_request ORDER BY last_at DESC, rowid DESC OFFSET $keep);
