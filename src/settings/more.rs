//! What there is to know of settings beyond their short descriptions: `extra_desc` of `pg_settings`, and the same in the table of
//! docs/settings.md, which is made from there.

use std::ffi::CStr;

/// By name, without the prefix.
const MORE: &[(&str, &CStr)] = &[
    ("listen_addresses", c"Host names are allowed; * is all."),
    ("listener_networks", c"What is named here has nothing of allowed_networks."),
    ("trusted_proxies", c"The header Forwarded is never believed."),
    (
        "admin_token",
        c"The hash (sha256: and 64 hexadecimal digits) keeps the token out of the file, which pg_file_settings shows to superusers.",
    ),
    ("metrics_token", c"For whoever collects figures. Shown as admin_token is."),
    ("metrics_platforms", c"2.2 kB of shared memory each."),
    (
        "token_everywhere",
        c"Off, it is not asked for with calls, uploads and lists: today's StoneScriptPHP command line and runtime client do not send it there.",
    ),
    ("require_platform_token", c"The admin token does too."),
    (
        "max_workers_per_database",
        c"The first one of a role is let in over it. For calls a database has half of max_workers at most.",
    ),
    (
        "worker_max_age",
        c"It is done between two requests, once the new one is there; some become a quarter older.",
    ),
    (
        "worker_max_calls",
        c"Counted are those that came through the server worker; all that it answers on connections of its own are one.",
    ),
    ("max_queue_total", c"A database and role may have no more waiting than is left of it."),
    ("call_timeout", c"A request, a function or a platform can have a limit of its own."),
    ("max_call_retries", c"A call or batch asks for it with retry."),
    ("deploy_wait", c"It waits as long for one that proves the same bundle."),
    (
        "deploy_nice",
        c"0 is the priority of all other processes. A deployment beside calls that take all processors then takes some four times as long as with 0. It holds for executors that are started later.",
    ),
    ("deploy_lock_timeout", c"It is tried four times."),
    (
        "deploy_statement_timeout",
        c"It is for statements of its plan, of migrations, of seeders and of the proof.",
    ),
    (
        "online_table_size",
        c"That is done after the deployment's transaction. 0 does it for every table that has rows.",
    ),
    ("adopt_gateway_databases", c"Register and migrate do it, for databases of the right name."),
    (
        "max_json_depth",
        c"Of a value that is JSON within a text PostgreSQL's own limit counts (max_stack_depth).",
    ),
    (
        "max_body_memory",
        c"The first 16 kB of each do not count. Twice max_archive_size at least; archives may have three quarters of it.",
    ),
    ("max_deployments", c"Those over HTTP and over SQL are counted together."),
    ("max_result_size", c"It is the same for all results of a batch together, and for the greatest of rows as lines."),
    ("max_http_connections", c"The limit of open files may allow fewer."),
    (
        "max_http_connections_per_address",
        c"Of IPv6 the first 64 bits are one address. Those of trusted_proxies are not counted.",
    ),
    ("max_header_size", c"For new connections."),
    ("max_headers", c"For new connections."),
    ("header_timeout", c"A TLS handshake has as long. For new connections."),
    ("keepalive_timeout", c"For new connections."),
    ("stall_timeout", c"For new connections."),
    (
        "log_rate",
        c"The kinds are failed calls, refusals, and other messages of the server worker. All processes have them together. What functions and PostgreSQL log is PostgreSQL's own.",
    ),
    ("tls_cert_file", c"In PEM."),
    ("tls_key_file", c"In PEM, not encrypted."),
    ("tls_ca_file", c"In PEM."),
    ("direct_connections", c"Off, every request goes through the server worker, which is slower."),
    (
        "busy_poll",
        c"0 is not at all. It is done while the client keeps calling in quick succession, and keeps a core busy that would be idle.",
    ),
    ("allowed_origins", c"An origin is written as browsers send it, https://app.example.com."),
    ("allowed_hosts", c"Empty is any, but for what may be a web page's."),
    ("platform_rate", c"stonescriptdb.set_rate says otherwise for one."),
];

/// What else there is to say of a setting; mostly nothing.
pub(crate) fn more(name: &CStr) -> &'static CStr {
    let name = name.to_bytes().strip_prefix(b"stonescriptdb.").unwrap_or_default();
    MORE.iter().find(|(known, _)| known.as_bytes() == name).map_or(c"", |(_, text)| *text)
}
