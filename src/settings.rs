//! Every setting of the extension, each with its reason, and a copy of them as plain data for the threads.

mod define;
mod listening;
mod more;

use std::ffi::CString;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use pgrx::{GucSetting, PostgresGucEnum};
use stonescriptdb_protocol::Rate;

use crate::postgres::secret::{self, Hash, Secret};

pub(crate) use define::define;
pub(crate) use more::more;

type Text = GucSetting<Option<CString>>;
type Number = GucSetting<i32>;

/// The control database. Needs a restart: the server worker is bound to it for life.
static DATABASE: Text = Text::new(Some(c"postgres"));
/// Loopback by default: exposing it is a decision.
static LISTEN_ADDRESSES: Text = Text::new(Some(c"127.0.0.1"));
static PORT: Number = Number::new(9000);
/// Loopback by default, for the same reason.
static ALLOWED_NETWORKS: Text = Text::new(Some(c"127.0.0.0/8, ::1/128"));
/// None: all listeners let the same networks in.
static LISTENER_NETWORKS: Text = Text::new(Some(c""));
/// Whose X-Forwarded-For counts; none by default, for anyone can write that header.
static TRUSTED_PROXIES: Text = Text::new(Some(c""));
/// Empty: administration over HTTP is off.
static ADMIN_TOKEN: Text = Text::new(Some(c""));
/// Executors in all. Each is a process and a slot of max_worker_processes, whose default of 8 leaves some six.
static MAX_WORKERS: Number = Number::new(16);
/// So that one tenant cannot take them all.
static MAX_WORKERS_PER_DATABASE: Number = Number::new(4);
/// An idle executor costs some megabytes; starting one costs milliseconds.
static WORKER_IDLE_TIMEOUT: Number = Number::new(60);
/// What an executor keeps in memory of catalogs and plans must not grow for ever. Replacing one costs milliseconds that nobody waits for.
static WORKER_MAX_AGE: Number = Number::new(60 * 60);
/// The same by requests: at 10,000 calls a second it is every minute or two, so that even what leaks a few bytes a call stays small.
static WORKER_MAX_CALLS: Number = Number::new(1_000_000);
/// Requests waiting for an executor, per database and role: enough for a burst, and few enough that the last one is not stale.
static MAX_QUEUE: Number = Number::new(1000);
/// So that many tenants' bursts together have an end too.
static MAX_QUEUE_TOTAL: Number = Number::new(10_000);
/// How long a call may wait for an executor before it is told to come again.
static QUEUE_TIMEOUT: Number = Number::new(10_000);
static CALL_TIMEOUT: Number = Number::new(30_000);
/// What a caller may ask for: an executor that is held for longer is missed by others.
static MAX_CALL_TIMEOUT: Number = Number::new(5 * 60_000);
/// A batch holds its locks from the first call to the last.
static MAX_BATCH: Number = Number::new(100);
static MAX_CALL_RETRIES: Number = Number::new(3);
static DEPLOY_WAIT: Number = Number::new(30_000);
/// How long one statement of a deployment waits for a lock that a tenant's own transactions hold.
static DEPLOY_LOCK_TIMEOUT: Number = Number::new(5_000);
/// A tenth of the weight of calls.
static DEPLOY_NICE: Number = Number::new(10);
/// 0: a rewrite of a large table takes as long as it takes.
static DEPLOY_STATEMENT_TIMEOUT: Number = Number::new(0);
/// Tables from this size on have their indexes built and their constraints validated after the transaction.
static ONLINE_TABLE_SIZE: Number = Number::new(64 * 1024);
/// Off: a database of the right name that is not in the registry is always an error.
static ADOPT_GATEWAY_DATABASES: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Off: a platform is open to every allowed address until it gets its first token.
static REQUIRE_PLATFORM_TOKEN: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Off: today's command line and runtime client, which send a platform's token with some requests only, work with a platform that has one.
static TOKEN_EVERYWHERE: GucSetting<bool> = GucSetting::<bool>::new(true);
static MAX_REQUEST_BODY: Number = Number::new(2 * 1024);
static MAX_ARCHIVE_SIZE: Number = Number::new(64 * 1024);
static MAX_BUNDLE_SIZE: Number = Number::new(256 * 1024);
static MAX_ARCHIVE_ENTRIES: Number = Number::new(20_000);
/// A result is built in memory, in the executor and again in the server worker.
static MAX_RESULT_SIZE: Number = Number::new(64 * 1024);
/// Connections over it are answered 503 and closed.
static MAX_HTTP_CONNECTIONS: Number = Number::new(10_000);
/// A client that does not finish its request's head in this time is cut off.
static HEADER_TIMEOUT: Number = Number::new(10_000);
/// As [`HEADER_TIMEOUT`], for the body.
static BODY_TIMEOUT: Number = Number::new(60_000);
/// A client that takes nothing of its answer for so long is cut off: it may hold an executor.
static STALL_TIMEOUT: Number = Number::new(10_000);
/// How long a connection may be idle between two requests. Longer than [`HEADER_TIMEOUT`]: clients keep connections in pools.
static KEEPALIVE_TIMEOUT: Number = Number::new(75_000);
/// hyper's buffer for a head, so not less than its least, 8 kB.
static MAX_HEADER_SIZE: Number = Number::new(64);
/// hyper has room for 100 on its stack; for another number it allocates for each request.
static MAX_HEADERS: Number = Number::new(100);
/// So that one client cannot have all of [`MAX_HTTP_CONNECTIONS`].
static MAX_HTTP_CONNECTIONS_PER_ADDRESS: Number = Number::new(2_500);
/// Bodies are read into memory: without a limit for all of them, enough clients could have the kernel end the server worker.
static MAX_BODY_MEMORY: Number = Number::new(256 * 1024);
/// An upload may take as long as [`BODY_TIMEOUT`].
static MAX_UPLOADS: Number = Number::new(64);
/// PostgreSQL's own parser takes some thousand levels, by its stack; serious JSON has a dozen.
static MAX_JSON_DEPTH: Number = Number::new(1_000);
/// Each holds its archive in memory while it waits for its turn.
static MAX_DEPLOYMENTS: Number = Number::new(200);
/// Plain by default: loopback needs none, and there is no certificate to begin with.
static TLS: GucSetting<bool> = GucSetting::<bool>::new(false);
/// The names that PostgreSQL's own settings have by default.
static TLS_CERT_FILE: Text = Text::new(Some(c"server.crt"));
static TLS_KEY_FILE: Text = Text::new(Some(c"server.key"));
/// Empty: clients need no certificate.
static TLS_CA_FILE: Text = Text::new(Some(c""));
static TLS_MIN_PROTOCOL_VERSION: GucSetting<TlsVersion> = GucSetting::<TlsVersion>::new(TlsVersion::Tls12);
/// Threads of the server worker for HTTP and the broker.
static IO_THREADS: Number = Number::new(1);
/// Origins of web pages that may send requests; none by default, for a browser sends what any page wants.
static ALLOWED_ORIGINS: Text = Text::new(Some(c""));
/// Names under which the listener may be reached. Empty: by any name, but for what may be a page of a name that leads here.
static ALLOWED_HOSTS: Text = Text::new(Some(c""));
/// 0: a platform may send as many requests as it can.
static PLATFORM_RATE: Number = Number::new(0);
/// 0: what comes in a second.
static PLATFORM_BURST: Number = Number::new(0);
/// Off: nothing is written of requests that are refused at the door.
static LOG_REFUSALS: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Off: every request goes through the server worker, which is slower.
static DIRECT_CONNECTIONS: GucSetting<bool> = GucSetting::<bool>::new(true);
/// Microseconds. Longer than what a client on this machine needs between an answer and its next request, and shorter than a turn of the
/// scheduler.
static BUSY_POLL: Number = Number::new(50);
/// Extensions beyond PostgreSQL's trusted ones that a bundle may ask for.
static ALLOWED_EXTENSIONS: Text = Text::new(Some(c""));

/// Versions of TLS, named as by PostgreSQL. Older ones there are none of in rustls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PostgresGucEnum)]
pub(crate) enum TlsVersion {
    /// 1.2 and 1.3.
    #[name = c"TLSv1.2"]
    Tls12,
    /// 1.3 only.
    #[name = c"TLSv1.3"]
    Tls13,
}

/// How TLS is to be served; paths as they were given, relative ones to the data directory.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
    /// Empty: clients need no certificate.
    pub(crate) ca_file: String,
    pub(crate) least: TlsVersion,
}
/// Empty: only the admin token shows the figures.
static METRICS_TOKEN: Text = Text::new(Some(c""));
/// Off: what is called how often is nobody's business.
static METRICS_PUBLIC: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Needs a restart: they have places in shared memory. What is more falls under one label, so that the number of time series has an end.
static METRICS_PLATFORMS: Number = Number::new(64);
/// 500: what the server or a bundle is to blame for; a client's own mistakes are the client's to log.
static LOG_MIN_STATUS: Number = Number::new(500);
/// In a second, of each kind and of all processes: what clients can cause must not fill the disk that the log is on, nor hide what else is
/// told.
static LOG_RATE: Number = Number::new(10);
/// How an outage begins is what matters of it.
static LOG_BURST: Number = Number::new(100);

/// A copy of the settings, for code that may not touch PostgreSQL.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) database: String,
    pub(crate) listen_addresses: Vec<String>,
    pub(crate) port: u16,
    /// For the listeners that have none of their own.
    pub(crate) allowed_networks: Vec<IpNet>,
    /// By address or host name, as it was given.
    pub(crate) listener_networks: Vec<(String, Vec<IpNet>)>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// What the admin token hashes to; none: administration over HTTP is off.
    pub(crate) admin_token: Option<Hash>,
    pub(crate) require_platform_token: bool,
    pub(crate) token_everywhere: bool,
    pub(crate) max_workers: usize,
    pub(crate) max_workers_per_database: usize,
    pub(crate) worker_idle_timeout: Duration,
    /// Zero is no limit.
    pub(crate) worker_max_age: Duration,
    /// Zero is no limit.
    pub(crate) worker_max_calls: u64,
    pub(crate) max_queue: usize,
    pub(crate) max_queue_total: usize,
    pub(crate) queue_timeout: Duration,
    pub(crate) call_timeout_ms: u32,
    pub(crate) max_call_timeout_ms: u32,
    pub(crate) max_batch: usize,
    pub(crate) max_call_retries: u8,
    pub(crate) deploy_wait: Duration,
    pub(crate) deploy_lock_timeout: Duration,
    pub(crate) max_request_body: usize,
    pub(crate) max_archive_size: usize,
    pub(crate) max_result_size: u32,
    pub(crate) max_http_connections: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) max_header_size: usize,
    pub(crate) max_headers: usize,
    pub(crate) max_http_connections_per_address: usize,
    pub(crate) max_body_memory: usize,
    pub(crate) max_uploads: usize,
    pub(crate) max_json_depth: usize,
    pub(crate) max_deployments: usize,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) io_threads: usize,
    pub(crate) direct_connections: bool,
    pub(crate) metrics_token: Option<Hash>,
    pub(crate) metrics_public: bool,
    /// Calls that fail with this status or a greater one are logged.
    pub(crate) log_min_status: u16,
    /// Lines of each kind; none is no limit.
    pub(crate) log_limit: Option<Rate>,
    /// In lower case, as what is sent is compared.
    pub(crate) allowed_origins: Vec<String>,
    /// In lower case, without ports.
    pub(crate) allowed_hosts: Vec<String>,
    /// Requests a second of a platform; 0 is no limit.
    pub(crate) platform_rate: u32,
    /// Requests at once; 0 is what comes in a second.
    pub(crate) platform_burst: u32,
    pub(crate) log_refusals: bool,
}

/// Reads the settings as they are now; on the main thread only.
pub(crate) fn current() -> Settings {
    let milliseconds = |setting: &Number| Duration::from_millis(u64::from(positive(setting)));
    Settings {
        database: text(&DATABASE),
        listen_addresses: list(&LISTEN_ADDRESSES),
        port: u16::try_from(PORT.get()).unwrap_or(0),
        allowed_networks: networks(&ALLOWED_NETWORKS),
        listener_networks: parse_listener_networks(&text(&LISTENER_NETWORKS)).unwrap_or_default(),
        trusted_proxies: networks(&TRUSTED_PROXIES),
        admin_token: secret::of_setting(Secret::Admin),
        require_platform_token: REQUIRE_PLATFORM_TOKEN.get(),
        token_everywhere: TOKEN_EVERYWHERE.get(),
        max_workers: positive(&MAX_WORKERS) as usize,
        max_workers_per_database: positive(&MAX_WORKERS_PER_DATABASE) as usize,
        worker_idle_timeout: Duration::from_secs(u64::from(positive(&WORKER_IDLE_TIMEOUT))),
        worker_max_age: Duration::from_secs(u64::from(positive(&WORKER_MAX_AGE))),
        worker_max_calls: u64::from(positive(&WORKER_MAX_CALLS)),
        max_queue: positive(&MAX_QUEUE) as usize,
        max_queue_total: positive(&MAX_QUEUE_TOTAL) as usize,
        queue_timeout: milliseconds(&QUEUE_TIMEOUT),
        call_timeout_ms: positive(&CALL_TIMEOUT),
        max_call_timeout_ms: positive(&MAX_CALL_TIMEOUT),
        max_batch: positive(&MAX_BATCH) as usize,
        max_call_retries: u8::try_from(MAX_CALL_RETRIES.get()).unwrap_or(0),
        deploy_wait: milliseconds(&DEPLOY_WAIT),
        deploy_lock_timeout: milliseconds(&DEPLOY_LOCK_TIMEOUT),
        max_request_body: positive(&MAX_REQUEST_BODY) as usize * 1024,
        max_archive_size: positive(&MAX_ARCHIVE_SIZE) as usize * 1024,
        max_result_size: positive(&MAX_RESULT_SIZE).saturating_mul(1024),
        max_http_connections: positive(&MAX_HTTP_CONNECTIONS) as usize,
        header_timeout: milliseconds(&HEADER_TIMEOUT),
        body_timeout: milliseconds(&BODY_TIMEOUT),
        stall_timeout: milliseconds(&STALL_TIMEOUT),
        keepalive_timeout: milliseconds(&KEEPALIVE_TIMEOUT),
        max_header_size: positive(&MAX_HEADER_SIZE) as usize * 1024,
        max_headers: positive(&MAX_HEADERS) as usize,
        max_http_connections_per_address: positive(&MAX_HTTP_CONNECTIONS_PER_ADDRESS) as usize,
        // One archive of the greatest size must always find room.
        max_body_memory: (positive(&MAX_BODY_MEMORY) as usize).max(positive(&MAX_ARCHIVE_SIZE) as usize * 2) * 1024,
        max_uploads: positive(&MAX_UPLOADS) as usize,
        max_json_depth: positive(&MAX_JSON_DEPTH) as usize,
        max_deployments: positive(&MAX_DEPLOYMENTS) as usize,
        tls: TLS.get().then(|| TlsSettings {
            cert_file: text(&TLS_CERT_FILE),
            key_file: text(&TLS_KEY_FILE),
            ca_file: text(&TLS_CA_FILE),
            least: TLS_MIN_PROTOCOL_VERSION.get(),
        }),
        io_threads: positive(&IO_THREADS) as usize,
        direct_connections: DIRECT_CONNECTIONS.get(),
        metrics_token: secret::of_setting(Secret::Metrics),
        metrics_public: METRICS_PUBLIC.get(),
        log_min_status: u16::try_from(LOG_MIN_STATUS.get()).unwrap_or(u16::MAX),
        log_limit: Rate::new(positive(&LOG_RATE), positive(&LOG_BURST)),
        allowed_origins: list(&ALLOWED_ORIGINS).iter().map(|origin| plain(origin)).collect(),
        allowed_hosts: list(&ALLOWED_HOSTS).iter().map(|name| plain(name)).collect(),
        platform_rate: positive(&PLATFORM_RATE),
        platform_burst: positive(&PLATFORM_BURST),
        log_refusals: LOG_REFUSALS.get(),
    }
}

/// Platforms that have counters of their own.
pub(crate) fn metrics_platforms() -> usize {
    positive(&METRICS_PLATFORMS) as usize
}

/// Milliseconds that a statement of a deployment waits for a lock.
pub(crate) fn deploy_lock_timeout_ms() -> u32 {
    positive(&DEPLOY_LOCK_TIMEOUT)
}

/// Milliseconds that a statement of a deployment may take; 0 is no limit.
pub(crate) fn deploy_statement_timeout_ms() -> u32 {
    positive(&DEPLOY_STATEMENT_TIMEOUT)
}

/// How long an executor looks for the next request of its only client before it sleeps; zero is not at all.
pub(crate) fn busy_poll() -> Duration {
    Duration::from_micros(u64::from(positive(&BUSY_POLL)))
}

/// The control database.
pub(crate) fn control_database() -> String {
    text(&DATABASE)
}

/// By how many steps of nice(2) the priority of executors that deploy is lower than that of others.
pub(crate) fn deploy_nice() -> u8 {
    u8::try_from(positive(&DEPLOY_NICE)).unwrap_or(u8::MAX)
}

/// Bytes from which on a table counts as big.
pub(crate) fn online_table_bytes() -> u64 {
    u64::from(positive(&ONLINE_TABLE_SIZE)) * 1024
}

/// Databases of the standalone gateway are taken over.
pub(crate) fn adopt_gateway_databases() -> bool {
    ADOPT_GATEWAY_DATABASES.get()
}

/// What an archive may cost.
pub(crate) fn archive_limits() -> stonescriptdb_bundle::Limits {
    stonescriptdb_bundle::Limits {
        max_archive_bytes: u64::from(positive(&MAX_ARCHIVE_SIZE)) * 1024,
        max_unpacked_bytes: u64::from(positive(&MAX_BUNDLE_SIZE)) * 1024,
        max_entries: positive(&MAX_ARCHIVE_ENTRIES) as usize,
        ..stonescriptdb_bundle::Limits::default()
    }
}

/// Extensions that are not trusted by PostgreSQL but allowed here.
pub(crate) fn allowed_extensions() -> Vec<String> {
    list(&ALLOWED_EXTENSIONS)
}

fn positive(setting: &Number) -> u32 {
    u32::try_from(setting.get()).unwrap_or(0)
}

fn text(setting: &Text) -> String {
    setting.get().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

/// An origin or a host's name as it is compared: people write it with a slash or a dot behind it.
fn plain(name: &str) -> String {
    name.trim_end_matches(['/', '.']).to_ascii_lowercase()
}

fn list(setting: &Text) -> Vec<String> {
    text(setting).split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Networks in CIDR notation; a single address is the network of itself. Values that do not parse never get here.
fn networks(setting: &Text) -> Vec<IpNet> {
    parse_networks(&text(setting)).unwrap_or_default()
}

/// Parses a list of networks and addresses.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_networks(value: &str) -> Result<Vec<IpNet>, String> {
    let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| parse_network(part).ok_or_else(|| format!("\"{part}\" is no network."))).collect()
}

/// Parses what listeners let in: `address = network network …`, separated by commas.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_listener_networks(value: &str) -> Result<Vec<(String, Vec<IpNet>)>, String> {
    let mut found: Vec<(String, Vec<IpNet>)> = Vec::new();
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, networks)) = part.split_once('=').map(|(name, networks)| (name.trim(), networks.trim())) else {
            return Err(format!(
                "\"{part}\" has no \"=\". It is address = network network …, and a comma before the next address."
            ));
        };
        if name.is_empty() {
            return Err(format!("\"{part}\" has no address before the \"=\"."));
        }
        if name == "*" || name.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
            return Err(format!(
                "\"{name}\" is no address of its own. Listeners that are not named have stonescriptdb.allowed_networks."
            ));
        }
        if networks.is_empty() {
            return Err(format!("\"{name}\" has no networks."));
        }
        if found.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(format!("\"{name}\" stands there twice."));
        }
        let networks = networks.split_whitespace();
        let networks = networks.map(|one| parse_network(one).ok_or_else(|| format!("\"{one}\" is no network.")));
        found.push((name.to_owned(), networks.collect::<Result<_, _>>()?));
    }
    Ok(found)
}

/// A network, or an address as the network of itself. One of IPv4 addresses in IPv6 (`::ffff:10.0.0.0/104`) is that of the IPv4 addresses:
/// clients are known by these, however they come.
pub(crate) fn parse_network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    match mapped {
        Some((address, length)) => IpNet::new(address.into(), length).ok(),
        None => Some(network),
    }
}
