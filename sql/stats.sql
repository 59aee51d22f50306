-- The figures of /metrics as views.

CREATE FUNCTION stats_list() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_stats';
COMMENT ON FUNCTION stats_list() IS 'the rows of the view stats as JSON';

CREATE VIEW stats AS
    SELECT s.metric, s.labels, s.value
    FROM pg_catalog.jsonb_to_recordset(stats_list()) AS s(metric text, labels jsonb, value double precision);
COMMENT ON VIEW stats IS 'all figures, named as in GET /metrics; counters begin with PostgreSQL''s start';

CREATE VIEW stats_latency AS
    SELECT s.labels ->> 'platform' AS platform,
           CASE WHEN s.labels ->> 'le' = '+Inf' THEN 'infinity' ELSE (s.labels ->> 'le')::double precision * 1000 END AS le_ms,
           s.value::bigint AS calls
    FROM stats s WHERE s.metric = 'stonescriptdb_call_duration_seconds_bucket';
COMMENT ON VIEW stats_latency IS 'how many calls of each platform took so long or less';

CREATE VIEW stats_calls AS
    WITH s AS MATERIALIZED (SELECT x.metric, x.labels, x.labels ->> 'platform' AS platform, x.value FROM stats x),
    sums AS (
        SELECT platform, sum(value) FILTER (WHERE metric = 'stonescriptdb_calls_total') AS calls,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'ok') AS ok,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'refused') AS refused,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'failed') AS failed,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'error') AS error,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'timeout') AS timeout,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'unavailable') AS unavailable,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'cancelled') AS cancelled,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_duration_seconds_sum') AS seconds,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_duration_seconds_count') AS timed,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_parameter_bytes_total') AS parameter_bytes,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_result_bytes_total') AS result_bytes
        FROM s WHERE platform IS NOT NULL GROUP BY platform)
    SELECT platform, calls::bigint, ok::bigint, refused::bigint, failed::bigint, error::bigint, timeout::bigint, unavailable::bigint,
           cancelled::bigint, seconds / nullif(timed, 0) * 1000 AS mean_ms, quantiles.p50_ms, quantiles.p95_ms, quantiles.p99_ms,
           parameter_bytes::bigint, result_bytes::bigint
    FROM sums, LATERAL (
        SELECT min(b.le) FILTER (WHERE b.calls >= sums.timed * 0.5) AS p50_ms, min(b.le) FILTER (WHERE b.calls >= sums.timed * 0.95) AS p95_ms,
               min(b.le) FILTER (WHERE b.calls >= sums.timed * 0.99) AS p99_ms
        FROM (SELECT CASE WHEN s.labels ->> 'le' = '+Inf' THEN 'infinity' ELSE (s.labels ->> 'le')::double precision * 1000 END AS le, s.value AS calls
              FROM s WHERE s.platform = sums.platform AND s.metric = 'stonescriptdb_call_duration_seconds_bucket') b
        WHERE sums.timed > 0) quantiles;
COMMENT ON VIEW stats_calls IS 'calls of each platform by outcome, and how long they took; a batch is one call';
COMMENT ON COLUMN stats_calls.p50_ms IS 'half of the calls took so long or less: the upper end of a bucket of stats_latency';

CREATE VIEW stats_executors AS
    SELECT s.labels ->> 'kind' AS kind, s.labels ->> 'state' AS state, s.value::bigint AS executors
    FROM stats s WHERE s.metric = 'stonescriptdb_executors';
COMMENT ON VIEW stats_executors IS 'executors by what they are for (calls, or deployments and other work) and what they do; the view workers has each';

CREATE VIEW stats_queues AS
    SELECT s.labels ->> 'kind' AS kind, sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_queue_length')::bigint AS waiting,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_queue_wait_seconds') * 1000 AS longest_ms
    FROM stats s WHERE s.metric IN ('stonescriptdb_queue_length', 'stonescriptdb_queue_wait_seconds') GROUP BY 1;
COMMENT ON VIEW stats_queues IS 'requests that wait for an executor, and how long the first of them has been waiting';

CREATE VIEW stats_deployments AS
    SELECT s.labels ->> 'outcome' AS outcome,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_deployments_total')::bigint AS deployments,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_deployment_databases_total')::bigint AS databases
    FROM stats s WHERE s.metric IN ('stonescriptdb_deployments_total', 'stonescriptdb_deployment_databases_total') GROUP BY 1;
COMMENT ON VIEW stats_deployments IS 'how deployments have ended since PostgreSQL''s start, and how in each of their databases; the view deployments has each';

CREATE VIEW stats_refusals AS
    SELECT s.labels ->> 'reason' AS reason, s.value::bigint AS refused
    FROM stats s WHERE s.metric = 'stonescriptdb_refusals_total';
COMMENT ON VIEW stats_refusals IS 'requests that got no executor and connections that were not served, by reason';

CREATE VIEW stats_errors AS
    SELECT s.labels ->> 'error' AS error, s.value::bigint AS answered
    FROM stats s WHERE s.metric = 'stonescriptdb_http_errors_total';
COMMENT ON VIEW stats_errors IS 'errors answered over HTTP, by code';

CREATE VIEW stats_http AS
    SELECT sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_connections')::bigint AS connections,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_connections_direct')::bigint AS direct,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_connections_total')::bigint AS served,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_received_bytes_total')::bigint AS received_bytes,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_sent_bytes_total')::bigint AS sent_bytes
    FROM stats s;
COMMENT ON VIEW stats_http IS 'HTTP connections: those that are open, those of them that executors serve, those served so far, and their bytes';
