//! Who may come in: addresses and the admin token.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use ipnet::IpNet;
use stonescriptdb_protocol::{ErrorCode, Failure};
use subtle::ConstantTimeEq;

use crate::settings::Settings;

/// The client's address: the peer's, or what trusted proxies say of who is behind them.
///
/// # Errors
/// `unauthorized` (403) for an address outside of `allowed_networks`.
pub(super) fn client(settings: &Settings, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Failure> {
    let proxies = &settings.trusted_proxies;
    let mut client = peer.to_canonical();
    if !proxies.is_empty() && contains(proxies, client) {
        // From the right: each hop was added by the one that is believed so far.
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
        for hop in hops.iter().rev() {
            match IpAddr::from_str(hop) {
                Ok(address) => client = address.to_canonical(),
                Err(_) => return Err(refused("the X-Forwarded-For header holds something that is not an address")),
            }
            if !contains(proxies, client) {
                break;
            }
        }
    }
    if contains(&settings.allowed_networks, client) {
        Ok(client)
    } else {
        Err(refused("requests from this address are not allowed"))
    }
}

fn refused(message: &str) -> Failure {
    Failure::new(ErrorCode::AddressNotAllowed, message)
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Lets only the admin token pass.
///
/// # Errors
/// `admin_disabled` (503) while none is set, `unauthorized` (401) otherwise.
pub(super) fn require_admin(settings: &Settings, headers: &HeaderMap) -> Result<(), Failure> {
    if settings.admin_token.is_empty() {
        return Err(Failure::new(ErrorCode::AdminDisabled, "administration over HTTP is switched off")
            .hint("Set stonescriptdb.admin_token and reload."));
    }
    let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match sent {
        Some(token) if bool::from(token.as_bytes().ct_eq(settings.admin_token.as_bytes())) => Ok(()),
        Some(_) => Err(Failure::new(ErrorCode::Unauthorized, "the token is not the admin token")),
        None => Err(Failure::new(ErrorCode::Unauthorized, "this route needs the admin token")
            .hint("Send it as Authorization: Bearer …")),
    }
}
