//! The settings of TLS, and the limits of what clients may send, as PostgreSQL knows them.

use pgrx::{GucContext, GucFlags, GucRegistry};

use super::*;

/// Defines them; once, while the library is loaded.
pub(super) fn define() {
    let none = GucFlags::empty();
    let files = [
        (
            c"stonescriptdb.tls_cert_file",
            c"File with the certificate of the HTTP listeners, and those of its issuers.",
            &TLS_CERT_FILE,
        ),
        (c"stonescriptdb.tls_key_file", c"File with the private key of the certificate.", &TLS_KEY_FILE),
        (
            c"stonescriptdb.tls_ca_file",
            c"File with the authorities of which clients need a certificate; empty: they need none.",
            &TLS_CA_FILE,
        ),
    ];
    for (name, description, setting) in files {
        GucRegistry::define_string_guc(name, description, more(name), setting, GucContext::Sighup, none);
    }
    GucRegistry::define_bool_guc(
        c"stonescriptdb.tls",
        c"Serves HTTP over TLS, on all listeners.",
        more(c"stonescriptdb.tls"),
        &TLS,
        GucContext::Sighup,
        none,
    );
    GucRegistry::define_enum_guc(
        c"stonescriptdb.tls_min_protocol_version",
        c"Least version of TLS.",
        more(c"stonescriptdb.tls_min_protocol_version"),
        &TLS_MIN_PROTOCOL_VERSION,
        GucContext::Sighup,
        none,
    );
    let ms = GucFlags::UNIT_MS;
    let kb = GucFlags::UNIT_KB;
    let day_ms = 24 * 60 * 60 * 1000;
    let numbers = [
        (
            c"stonescriptdb.keepalive_timeout",
            c"Time that a connection may be idle between two requests.",
            &KEEPALIVE_TIMEOUT,
            100,
            day_ms,
            ms,
        ),
        (c"stonescriptdb.max_header_size", c"Size of a request's head.", &MAX_HEADER_SIZE, 8, 1024, kb),
        (c"stonescriptdb.max_headers", c"Header lines of a request.", &MAX_HEADERS, 10, 1000, none),
        (
            c"stonescriptdb.max_http_connections_per_address",
            c"HTTP connections of one address that are served at once; 0 is no limit.",
            &MAX_HTTP_CONNECTIONS_PER_ADDRESS,
            0,
            1_000_000,
            none,
        ),
        (
            c"stonescriptdb.max_body_memory",
            c"Memory for the bodies of all requests together.",
            &MAX_BODY_MEMORY,
            1024,
            1 << 30,
            kb,
        ),
        (
            c"stonescriptdb.max_uploads",
            c"Archives that are received over HTTP at once.",
            &MAX_UPLOADS,
            1,
            100_000,
            none,
        ),
        (
            c"stonescriptdb.max_json_depth",
            c"Levels to which the JSON of a request may be nested.",
            &MAX_JSON_DEPTH,
            10,
            1_000_000,
            none,
        ),
        (
            c"stonescriptdb.max_deployments",
            c"Deployments that run or wait at once.",
            &MAX_DEPLOYMENTS,
            1,
            100_000,
            none,
        ),
    ];
    for (name, description, setting, least, most, flags) in numbers {
        GucRegistry::define_int_guc(name, description, more(name), setting, least, most, GucContext::Sighup, flags);
    }
}
