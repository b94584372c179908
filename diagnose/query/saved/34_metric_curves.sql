-- name: metric-curves
-- question: Which numbers moved?
-- parameters:
--   incident VARCHAR: the incident; the newest one when left out
WITH chosen AS (
  SELECT * FROM incidents WHERE $incident IS NULL OR incident_id = $incident ORDER BY started_at DESC LIMIT 1
), points AS (
  SELECT metrics.*, metrics."time" >= chosen.started_at AS is_during
  FROM metrics, chosen
  WHERE metrics.service_name = chosen.service_name AND metrics.value IS NOT NULL
    AND metrics."time" >= chosen.started_at - INTERVAL 1 HOUR AND metrics."time" < coalesce(chosen.ended_at, now())
)
SELECT
  name AS metric, unit, service_instance_id AS instance, attributes, count(*) AS points,
  round(avg(value) FILTER (NOT is_during), 4) AS before, round(avg(value) FILTER (is_during), 4) AS during,
  round(max(value) FILTER (is_during), 4) AS highest
FROM points GROUP BY ALL HAVING count(*) FILTER (is_during) > 0
ORDER BY abs(during - before) / nullif(abs(before), 0) DESC NULLS LAST, metric, instance LIMIT 20
