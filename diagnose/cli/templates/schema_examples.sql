-- name: alert_events
-- How often did the senders repeat themselves?
SELECT alertname, source, status, count(*) AS messages, max(received_at) AS last_at
FROM alert_events GROUP BY ALL ORDER BY messages DESC

-- name: alerts
-- What fires, and what did its labels say?
SELECT alertname, starts_at, value, labels['severity'] AS severity, annotations['summary'] AS summary
FROM alerts WHERE status = 'firing' ORDER BY starts_at

-- name: builds
-- Which builds were there, newest first?
SELECT * FROM builds ORDER BY ALL LIMIT 20

-- name: captures
-- Which captures of the last day did not work?
SELECT service_instance_id, kind, status, reason, http_status
FROM captures WHERE status <> 'done' AND requested_at > now() - INTERVAL 1 DAY ORDER BY requested_at DESC

-- name: decisions
-- What was decided about an incident?
SELECT * FROM decisions WHERE incident_id = (SELECT arg_max(incident_id, started_at) FROM incidents) LIMIT 50

-- name: deliveries
-- Which reports are still on their way?
SELECT incident_id, sink, status, attempts, last_error FROM deliveries WHERE status <> 'delivered'

-- name: exemplars
-- The slowest observations that name their trace.
SELECT metric_name, "time", value, trace_id FROM exemplars WHERE trace_id IS NOT NULL ORDER BY value DESC LIMIT 10

-- name: findings
-- What was found in the newest revision of each report?
SELECT findings.incident_id, findings.rank, findings.kind, findings.statement, findings.subject."name"
FROM findings JOIN incidents USING (incident_id, revision) ORDER BY findings.incident_id, findings.rank

-- name: histograms
-- How many observations fell into each bucket?
SELECT name, "time", unnest(bounds) AS up_to, unnest(bucket_counts[1:len(bounds)]) AS observations
FROM histograms ORDER BY "time" DESC LIMIT 20

-- name: incident_traces
-- The best traces of the newest incident with their spans.
SELECT incident_traces.rank, spans.name, spans.service_name, spans.duration_ns / 1e6 AS ms
FROM incident_traces JOIN spans USING (trace_id)
WHERE incident_id = (SELECT arg_max(incident_id, started_at) FROM incidents)
ORDER BY incident_traces.rank, spans.start_time_unix_nano

-- name: incidents
-- How often was each service in trouble this month, and why last?
SELECT service_name, count(*) AS incidents, arg_max(top_finding, started_at) AS last_cause
FROM incidents WHERE started_at > now() - INTERVAL 30 DAY GROUP BY service_name ORDER BY incidents DESC

-- name: metrics
-- One number over the last hour, by the minute.
SELECT time_bucket(INTERVAL 1 MINUTE, "time") AS minute, avg(value) AS value
FROM metrics WHERE name = 'go_goroutines' AND service_name = 'checkout' AND "time" > now() - INTERVAL 1 HOUR
GROUP BY minute ORDER BY minute

-- name: notes
-- What could not be known, and what would change that?
SELECT incident_id, statement, fix FROM notes WHERE kind = 'missing_evidence' AND fix <> ''

-- name: profile_samples
-- CPU time by function and route, of the requests an incident names.
SELECT own_function, labels['route'] AS route, sum(value) / 1e6 AS cpu_ms
FROM profile_samples JOIN incident_traces USING (trace_id)
WHERE kind = 'cpu' AND value_type = 'cpu' GROUP BY ALL ORDER BY cpu_ms DESC LIMIT 20

-- name: profiles
-- The newest CPU profile of each instance.
SELECT service_name, service_instance_id, arg_max(profile_id, started_at) AS profile_id, max(started_at) AS started_at
FROM profiles WHERE kind = 'cpu' GROUP BY ALL ORDER BY ALL

-- name: rejected_requests
-- Who sends us what we cannot read?
SELECT path, field, reason, repeats + 1 AS times, last_at FROM rejected_requests ORDER BY last_at DESC

-- name: spans
-- The slowest routes of the last 15 minutes.
SELECT service_name, http_route, count(*) AS requests, p99(duration_ns) / 1e6 AS p99_ms
FROM spans WHERE kind = 'SERVER' AND start_time > now() - INTERVAL 15 MINUTE
GROUP BY ALL ORDER BY p99_ms DESC LIMIT 10

-- name: timings
-- How long until the first report, in the median and at worst?
SELECT step, p50(ms) AS median_ms, max(ms) AS worst_ms FROM timings GROUP BY step ORDER BY median_ms

-- name: macros
-- The macros of every day; `FROM x(…)` is short for `SELECT * FROM x(…)`.
FROM trace('4bf92f3577b34da6a3ce929d0e0e4736');
FROM span_cpu('4bf92f3577b34da6a3ce929d0e0e4736');
FROM service_map(now() - INTERVAL 15 MINUTE, now());
FROM compare_attributes('checkout', now() - INTERVAL 15 MINUTE, now());
FROM timeline('inc-1ngc5c74ja0');
FROM top_functions('cpu-aad722f694f4c0a8', 'cpu') LIMIT 10;
FROM flamegraph('cpu-aad722f694f4c0a8', 'cpu');
FROM profile_diff('cpu-4e09395a216817e5', 'cpu-aad722f694f4c0a8', 'cpu') LIMIT 10;
SELECT p50(duration_ns), p95(duration_ns), p99(duration_ns) FROM spans;
