//! The settings as PostgreSQL knows them: names, limits, when they can be changed.

use pgrx::{GucContext, GucFlags, GucRegistry};

use super::*;
use crate::postgres::{hooks, request, secret};

/// Defines the settings; once, while the library is loaded.
pub(crate) fn define() {
    use GucContext::{Postmaster, Sighup};
    let none = GucFlags::empty();
    let texts: [(_, _, _, GucContext, _); 5] = [
        (
            c"stonescriptdb.database",
            c"The control database, in which the extension is created.",
            &DATABASE,
            Postmaster,
            none,
        ),
        (
            c"stonescriptdb.listen_addresses",
            c"Addresses on which HTTP is served, separated by commas; empty serves none.",
            &LISTEN_ADDRESSES,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.allowed_origins",
            c"Origins of web pages that may send requests, separated by commas; * is all.",
            &ALLOWED_ORIGINS,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.allowed_hosts",
            c"Names of hosts to which requests may be sent, beside addresses and localhost, separated by commas.",
            &ALLOWED_HOSTS,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.allowed_extensions",
            c"Extensions that bundles may install beyond those that PostgreSQL trusts.",
            &ALLOWED_EXTENSIONS,
            Sighup,
            none,
        ),
    ];
    for (name, description, setting, context, flags) in texts {
        GucRegistry::define_string_guc(name, description, more(name), setting, context, flags);
    }
    hooks::define_checked(
        c"stonescriptdb.allowed_networks",
        c"Networks (CIDR) from which HTTP requests are accepted, separated by commas.",
        &ALLOWED_NETWORKS,
        hooks::Checked::Networks,
    );
    hooks::define_checked(
        c"stonescriptdb.listener_networks",
        c"Networks (CIDR) of single listeners, in the place of allowed_networks: address = network network, separated by commas.",
        &LISTENER_NETWORKS,
        hooks::Checked::ListenerNetworks,
    );
    hooks::define_checked(
        c"stonescriptdb.trusted_proxies",
        c"Networks (CIDR) of proxies whose X-Forwarded-For header is believed, separated by commas.",
        &TRUSTED_PROXIES,
        hooks::Checked::Networks,
    );
    secret::define(
        Secret::Admin,
        c"stonescriptdb.admin_token",
        c"Bearer token of the admin routes, or sha256: and its hash in hex; empty switches them off.",
        &ADMIN_TOKEN,
    );
    secret::define(
        Secret::Metrics,
        c"stonescriptdb.metrics_token",
        c"Bearer token of /metrics, beside the admin token, or sha256: and its hash in hex.",
        &METRICS_TOKEN,
    );
    let ms = GucFlags::UNIT_MS;
    let kb = GucFlags::UNIT_KB;
    let day_ms = 24 * 60 * 60 * 1000;
    let numbers = [
        (c"stonescriptdb.port", c"Port on which HTTP is served; 0 serves none.", &PORT, 0, 65_535, Sighup, none),
        (c"stonescriptdb.max_workers", c"Executors in all databases together.", &MAX_WORKERS, 1, 1024, Sighup, none),
        (
            c"stonescriptdb.max_workers_per_database",
            c"Executors in one database.",
            &MAX_WORKERS_PER_DATABASE,
            1,
            1024,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.worker_idle_timeout",
            c"Time after which an idle executor is ended.",
            &WORKER_IDLE_TIMEOUT,
            1,
            24 * 60 * 60,
            Sighup,
            GucFlags::UNIT_S,
        ),
        (
            c"stonescriptdb.worker_max_age",
            c"Age at which an executor is replaced; 0 is none.",
            &WORKER_MAX_AGE,
            0,
            i32::MAX,
            Sighup,
            GucFlags::UNIT_S,
        ),
        (
            c"stonescriptdb.worker_max_calls",
            c"Requests after which an executor is replaced; 0 is no limit.",
            &WORKER_MAX_CALLS,
            0,
            i32::MAX,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.max_queue",
            c"Requests that may wait for an executor, per database and role.",
            &MAX_QUEUE,
            1,
            1_000_000,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.max_queue_total",
            c"Requests that may wait for an executor, in all.",
            &MAX_QUEUE_TOTAL,
            1,
            1_000_000,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.queue_timeout",
            c"Time that a call may wait for an executor.",
            &QUEUE_TIMEOUT,
            1,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.call_timeout",
            c"Time that a call may take; 0 is no limit.",
            &CALL_TIMEOUT,
            0,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.max_call_timeout",
            c"Greatest time that a caller may ask for with X-Timeout-Ms.",
            &MAX_CALL_TIMEOUT,
            1,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.busy_poll",
            c"Microseconds for which an executor that serves one connection looks for the next request before it sleeps.",
            &BUSY_POLL,
            0,
            1_000,
            Sighup,
            none,
        ),
        (c"stonescriptdb.max_batch", c"Calls in one batch.", &MAX_BATCH, 1, 10_000, Sighup, none),
        (
            c"stonescriptdb.max_call_retries",
            c"Times that a call is tried again after a serialization failure or a deadlock, if it asks for that.",
            &MAX_CALL_RETRIES,
            0,
            100,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.deploy_wait",
            c"Time that a deployment waits for another one of the same database.",
            &DEPLOY_WAIT,
            0,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.deploy_nice",
            c"Steps (nice) by which executors that deploy have less of a processor than those that call, where both want it.",
            &DEPLOY_NICE,
            0,
            19,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.deploy_lock_timeout",
            c"Time that a statement of a deployment waits for a lock.",
            &DEPLOY_LOCK_TIMEOUT,
            1,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.deploy_statement_timeout",
            c"Time that a statement of a deployment may take; 0 is no limit.",
            &DEPLOY_STATEMENT_TIMEOUT,
            0,
            i32::MAX,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.online_table_size",
            c"Size from which on indexes of a table are built and its constraints validated without blocking it.",
            &ONLINE_TABLE_SIZE,
            0,
            i32::MAX,
            Sighup,
            kb,
        ),
        (
            c"stonescriptdb.max_request_body",
            c"Size of a request's body, archives aside.",
            &MAX_REQUEST_BODY,
            1,
            1 << 20,
            Sighup,
            kb,
        ),
        (
            c"stonescriptdb.max_archive_size",
            c"Size of a bundle's archive as it is sent.",
            &MAX_ARCHIVE_SIZE,
            1,
            1 << 19,
            Sighup,
            kb,
        ),
        (c"stonescriptdb.max_bundle_size", c"Size of a bundle unpacked.", &MAX_BUNDLE_SIZE, 1, 1 << 20, Sighup, kb),
        (
            c"stonescriptdb.max_archive_entries",
            c"Files and folders in an archive.",
            &MAX_ARCHIVE_ENTRIES,
            1,
            10_000_000,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.max_result_size",
            c"Size of one call's result as JSON.",
            &MAX_RESULT_SIZE,
            1,
            1 << 19,
            Sighup,
            kb,
        ),
        (
            c"stonescriptdb.max_http_connections",
            c"HTTP connections that are served at once.",
            &MAX_HTTP_CONNECTIONS,
            1,
            1_000_000,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.header_timeout",
            c"Time in which a request's head must arrive.",
            &HEADER_TIMEOUT,
            100,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.body_timeout",
            c"Time in which a request's body must arrive.",
            &BODY_TIMEOUT,
            100,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.stall_timeout",
            c"Time after which a client that takes nothing of its answer is cut off.",
            &STALL_TIMEOUT,
            100,
            day_ms,
            Sighup,
            ms,
        ),
        (
            c"stonescriptdb.io_threads",
            c"Threads that serve HTTP and the executors.",
            &IO_THREADS,
            1,
            64,
            Postmaster,
            none,
        ),
        (
            c"stonescriptdb.metrics_platforms",
            c"Platforms that have figures of their own; all others share one label.",
            &METRICS_PLATFORMS,
            0,
            1000,
            Postmaster,
            none,
        ),
        (
            c"stonescriptdb.log_min_status",
            c"Calls that fail with this HTTP status or a greater one are logged; 600 logs none.",
            &LOG_MIN_STATUS,
            400,
            600,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.log_rate",
            c"Lines of the server's log in a second, of each kind, that clients can cause; 0 is no limit.",
            &LOG_RATE,
            0,
            1_000_000,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.log_burst",
            c"Such lines at once after a pause; 0 is as many as come in a second.",
            &LOG_BURST,
            0,
            1_000_000,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.platform_rate",
            c"Requests a second over HTTP of each platform; 0 is no limit.",
            &PLATFORM_RATE,
            0,
            1_000_000,
            Sighup,
            none,
        ),
        (
            c"stonescriptdb.platform_burst",
            c"Requests of a platform at once after a pause; 0 is what comes in a second.",
            &PLATFORM_BURST,
            0,
            1_000_000,
            Sighup,
            none,
        ),
    ];
    for (name, description, setting, least, most, context, flags) in numbers {
        GucRegistry::define_int_guc(name, description, more(name), setting, least, most, context, flags);
    }
    GucRegistry::define_bool_guc(
        c"stonescriptdb.adopt_gateway_databases",
        c"Takes over databases that the standalone gateway deployed.",
        more(c"stonescriptdb.adopt_gateway_databases"),
        &ADOPT_GATEWAY_DATABASES,
        Sighup,
        none,
    );
    GucRegistry::define_bool_guc(
        c"stonescriptdb.require_platform_token",
        c"Requests over HTTP that name a platform need a token of it, also where it has none yet.",
        more(c"stonescriptdb.require_platform_token"),
        &REQUIRE_PLATFORM_TOKEN,
        Sighup,
        none,
    );
    GucRegistry::define_bool_guc(
        c"stonescriptdb.token_everywhere",
        c"Asks for the token of a platform that has one on every route that names it, and not only where databases are created and migrated.",
        more(c"stonescriptdb.token_everywhere"),
        &TOKEN_EVERYWHERE,
        Sighup,
        none,
    );
    GucRegistry::define_bool_guc(
        c"stonescriptdb.direct_connections",
        c"Executors serve connections that call one tenant again and again.",
        more(c"stonescriptdb.direct_connections"),
        &DIRECT_CONNECTIONS,
        Sighup,
        none,
    );
    listening::define();
    GucRegistry::define_bool_guc(
        c"stonescriptdb.metrics_public",
        c"Shows /metrics to everybody who may send requests.",
        more(c"stonescriptdb.metrics_public"),
        &METRICS_PUBLIC,
        Sighup,
        none,
    );
    GucRegistry::define_bool_guc(
        c"stonescriptdb.log_refusals",
        c"Writes to the server's log which requests over HTTP were refused, once a minute for each address and reason.",
        more(c"stonescriptdb.log_refusals"),
        &LOG_REFUSALS,
        Sighup,
        none,
    );
    hooks::reserve_prefix();
    request::define();
}
