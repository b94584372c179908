-- Rows as version 1 of the schema had them.
INSERT INTO incident VALUES ('inc-1', 'g', 'open', 't', 'checkout', 'critical', now(), NULL, now(), 0);
