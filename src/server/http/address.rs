//! Which address a request comes from: the connection's other end, or what trusted proxies say of who is behind them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use ipnet::IpNet;
use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::settings::Settings;

/// The client's address. Of headers X-Forwarded-For alone is read. A proxy that writes it passes a Forwarded (RFC 7239) of the client's
/// own on as it came, and nobody could tell that from the proxy's word.
///
/// # Errors
/// `unauthorized` (403) if the header holds something that is not an address.
pub(super) fn client(settings: &Settings, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Failure> {
    let proxies = &settings.trusted_proxies;
    let mut client = peer.to_canonical();
    if proxies.is_empty() || !contains(proxies, client) {
        return Ok(client);
    }
    // Several lines are one list (RFC 9110, 5.3). It is read from the right: each hop was added by the one that is believed so far.
    for line in headers.get_all("x-forwarded-for").iter().rev() {
        for hop in line.as_bytes().rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            // Empty elements of a list mean nothing (RFC 9110, 5.6.1).
            if hop.is_empty() {
                continue;
            }
            client = parse(hop).ok_or_else(|| refused(NO_ADDRESS))?;
            if !contains(proxies, client) {
                return Ok(client);
            }
        }
    }
    Ok(client)
}

/// Lets only the networks pass that the listener allows, which [`Doors`](crate::server::doors::Doors) knows.
///
/// # Errors
/// `unauthorized` (403).
pub(super) fn require_allowed(allowed: &[IpNet], client: IpAddr) -> Result<(), Failure> {
    if contains(allowed, client) { Ok(()) } else { Err(refused("requests from this address are not allowed")) }
}

const NO_ADDRESS: &str = "the X-Forwarded-For header holds something that is not an address";

pub(super) fn refused(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::AddressNotAllowed, message)
}

/// Whether one of the networks has an address, which is canonical.
pub(crate) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// A hop as proxies write it: an address, one in brackets, either of them with a port. IPv4 in IPv6 is IPv4.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = HeaderValue::from_bytes(hop).ok()?;
    let text = hop.to_str().ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| bracketed().map(IpAddr::from));
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}
