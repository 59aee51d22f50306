//! Free TCP ports.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Below the range that Linux gives to outgoing connections (32768 …), so that none of the thousands that a test opens can take the
/// port of a server that is about to start.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of 127.0.0.1 that nobody listens on and that no other caller in this process was given.
///
/// # Panics
/// When there is none.
pub fn free() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);

    // Another test process starts its search somewhere else.
    let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    let port = (0..COUNT)
        .map(|i| FIRST + (start + i) % COUNT)
        .find(|port| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no free TCP port");
    given.insert(port);
    port
}
