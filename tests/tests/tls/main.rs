//! TLS on the listeners: as curl and OpenSSL see it, with certificates made for the test.

mod certificates;
mod handshakes;
mod reloading;
