-- name: insert_new_points
-- Only points that are not there yet; $since and $until are the first and last time among the incoming.
INSERT INTO live_metric_point BY NAME
SELECT * FROM incoming ANTI JOIN (
  SELECT series_id, "time" FROM metric_point WHERE "time" BETWEEN $since AND $until
) USING (series_id, "time")

-- name: insert_new_exemplars
-- Only exemplars that are not there yet; $since and $until are the first and last time among the incoming.
INSERT INTO live_exemplar BY NAME
SELECT DISTINCT ON (series_id, "time", value, trace_id) * FROM incoming WHERE NOT EXISTS (
  SELECT 1 FROM exemplar AS known
  WHERE known."time" BETWEEN $since AND $until AND known.series_id = incoming.series_id
    AND known."time" = incoming."time" AND known.value = incoming.value
    AND known.trace_id IS NOT DISTINCT FROM incoming.trace_id
)

-- name: series_points
SELECT any_value(attributes) AS attributes, list("time" ORDER BY "time") AS times, list(value ORDER BY "time") AS points
FROM metric_point JOIN metric_series USING (series_id)
WHERE name = $name AND service_name = $service AND "time" BETWEEN $since AND $until AND value IS NOT NULL
GROUP BY series_id
ORDER BY any_value(attributes)::VARCHAR, series_id

-- name: describe_series
-- What metadata says of series that Prometheus pushed and that nobody described before.
UPDATE metric_series
SET "type" = family."type", unit = family.unit, is_monotonic = family.is_monotonic,
  temporality = CASE WHEN family.is_monotonic THEN 'cumulative' ELSE '' END
FROM (SELECT DISTINCT ON (name) * FROM incoming) AS family
WHERE metric_series.name = family.name AND source = 'prometheus' AND metric_series."type" = 'unknown'
