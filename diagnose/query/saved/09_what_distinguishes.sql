-- name: what-distinguishes
-- question: What have the slow and failed requests in common?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), entries AS MATERIALIZED (
  SELECT spans.*
  FROM spans, chosen
  WHERE spans.service_name = chosen.service_name AND list_contains(['SERVER', 'CONSUMER'], spans.kind)
    AND spans.start_time >= chosen.started_at - INTERVAL 10 MINUTE
    AND spans.start_time < coalesce(chosen.ended_at, now())
), bound AS (
  SELECT name, p95(duration_ns) AS slow_ns FROM entries GROUP BY name
), judged AS (
  SELECT entries.attributes, entries.resource_attributes, status_code = 'ERROR' OR duration_ns > slow_ns AS suffers
  FROM entries JOIN bound USING (name)
), properties AS (
  SELECT suffers, unnest(map_entries(attributes) || map_entries(coalesce(resource_attributes, MAP {}))) AS entry
  FROM judged
), counted AS (
  SELECT
    entry."key" AS attribute, entry."value" AS "value", count(*) FILTER (suffers) AS suffering,
    count(*) FILTER (NOT suffers) AS fine
  FROM properties GROUP BY ALL HAVING count(*) >= 5
), shares AS (
  SELECT
    attribute, "value", suffering, fine,
    round(100 * suffering / nullif((SELECT count(*) FROM judged WHERE suffers), 0), 1) AS percent_of_suffering,
    round(100 * fine / nullif((SELECT count(*) FROM judged WHERE NOT suffers), 0), 1) AS percent_of_fine
  FROM counted
)
SELECT attribute, "value", suffering, fine, percent_of_suffering, percent_of_fine
FROM shares
WHERE abs(percent_of_suffering - percent_of_fine) >= 5
ORDER BY abs(percent_of_suffering - percent_of_fine) DESC, attribute, "value" LIMIT 20
