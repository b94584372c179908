-- Rows as version 1 of the schema had them.
INSERT INTO resource VALUES (1, 'checkout', '', '', '', '', MAP {'service.name': 'checkout'}, now());
INSERT INTO span BY NAME
SELECT
  'ab' AS trace_id, lpad(i::VARCHAR, 16, '0') AS span_id, 'a' AS name, 'SERVER' AS kind, 'checkout' AS service_name,
  '' AS service_instance_id, now() AS start_time, 0 AS start_time_unix_nano, 5 AS duration_ns, 'OK' AS status_code,
  1 AS resource_id, '' AS scope_name, MAP {'k': i::VARCHAR} AS attributes,
  [{'time': now(), 'name': 'e', 'attributes': MAP {'a': 'b'}}] AS events, [] AS links
FROM range(1, 1001) AS numbers(i);
INSERT INTO metric_series VALUES (1, 'm', 'gauge', '', '', false, 'checkout', MAP {}, 1, 'otlp', now());
INSERT INTO metric_point VALUES (1, now(), NULL, 1.5, false);
INSERT INTO exemplar VALUES (1, 'm', now(), 1.5, 'ab', NULL, MAP {});
INSERT INTO profile VALUES (
  7, 'cpu-1', NULL, 'checkout', '', 'cpu', 'interval', now(), 1, 3, '',
  [{'type': 'samples', 'unit': 'count'}, {'type': 'cpu', 'unit': 'nanoseconds'}], 2, 10, MAP {}, 'hash', 0, ''::BLOB
);
INSERT INTO sample VALUES
  (7, 1, [2, 20], [2, 2], 'ab', NULL, MAP {}, MAP {}), (7, 1, [3, 30], [3, 3], 'cd', NULL, MAP {}, MAP {}),
  (7, 2, [0, 0], [0, 0], NULL, NULL, MAP {}, MAP {});
