-- name: service-map
-- question: Who calls whom, and where does it hurt?
-- parameters:
--   at TIMESTAMPTZ: the end of the ten minutes looked at; now when left out
SELECT
  caller, callee, callee_kind, calls, errors, round(p50_ns / 1e6, 1) AS p50_ms, round(p99_ns / 1e6, 1) AS p99_ms
FROM service_map(coalesce($at::TIMESTAMPTZ, now()) - INTERVAL 10 MINUTE, coalesce($at::TIMESTAMPTZ, now()))
ORDER BY p99_ms DESC, caller, callee
