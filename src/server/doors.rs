//! Where HTTP is listened for, and which networks each of these addresses lets in: the one place where that is decided.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::settings::Settings;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The other one's address: the client's, or a proxy's.
    pub(super) peer: IpAddr,
    /// Ours: the listener's address, or that of this machine's which the client has named where the listener has all of them.
    pub(super) local: IpAddr,
}

/// What is listened on, and whom that lets in.
#[derive(Default, Debug)]
pub(super) struct Doors {
    /// In order, each once.
    addresses: Vec<SocketAddr>,
    /// Local addresses with networks of their own, IPv4 as such.
    own: HashMap<IpAddr, Vec<IpNet>>,
}

impl Doors {
    /// As the settings say. Names are resolved now; those in `listen_addresses` that cannot be are told to `log`, and the others are
    /// listened on.
    ///
    /// # Errors
    /// What is wrong with `listener_networks`. Whoever writes a list for a listener wants it narrower than the others, or wider: in no case
    /// shall a slip leave it with the list of all.
    pub(super) async fn of(settings: &Settings, log: impl Fn(String)) -> Result<Doors, String> {
        let addresses = addresses(settings, log).await;
        let mut own = HashMap::new();
        if addresses.is_empty() {
            return Ok(Doors { addresses, own });
        }
        let is_listed = |address: &IpAddr| addresses.iter().any(|socket| socket.ip().to_canonical() == *address);
        let has_all = |address: &IpAddr| is_listed(&unspecified(*address));
        let has_wildcard = addresses.iter().any(|socket| socket.ip().is_unspecified());
        for (name, networks) in &settings.listener_networks {
            let named: Vec<IpAddr> = match resolve(name, settings.port).await {
                Ok(found) => found.into_iter().map(|socket| socket.ip().to_canonical()).collect(),
                // Nothing is listened on under that name, which has been told.
                Err(_) if is_named(settings, name) && !has_wildcard => continue,
                Err(error) => return Err(format!("\"{name}\" is no address of this machine: {error}")),
            };
            let mut served = 0;
            for address in named {
                if !is_listed(&address) {
                    if !has_all(&address) {
                        continue;
                    }
                    // A slip of the pen would leave the address that was meant with the list of all.
                    if !is_of_this_machine(address) {
                        return Err(format!(
                            "{address} is no address of this machine now. If it comes later, name what is listened on in \
                             stonescriptdb.listen_addresses, in the place of all"
                        ));
                    }
                }
                served += 1;
                if own.insert(address, networks.clone()).is_some_and(|other| other != *networks) {
                    return Err(format!("{address} has two lists of networks, one of them as \"{name}\""));
                }
            }
            if served == 0 {
                return Err(format!("\"{name}\" is none of stonescriptdb.listen_addresses"));
            }
        }
        Ok(Doors { addresses, own })
    }

    /// What is listened on.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The networks that may send requests on a connection with this local address.
    pub(super) fn networks<'a>(&'a self, settings: &'a Settings, local: IpAddr) -> &'a [IpNet] {
        self.own.get(&local.to_canonical()).unwrap_or(&settings.allowed_networks)
    }
}

fn is_named(settings: &Settings, name: &str) -> bool {
    settings.listen_addresses.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// What stands for all addresses of one's kind.
fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Only what the machine has can be bound to.
fn is_of_this_machine(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

async fn addresses(settings: &Settings, log: impl Fn(String)) -> Vec<SocketAddr> {
    if settings.port == 0 {
        return Vec::new();
    }
    let mut found: Vec<SocketAddr> = Vec::new();
    for host in &settings.listen_addresses {
        if host == "*" {
            found.push((Ipv4Addr::UNSPECIFIED, settings.port).into());
            found.push((Ipv6Addr::UNSPECIFIED, settings.port).into());
            continue;
        }
        match resolve(host, settings.port).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => {
                log(format!("\"{host}\" in stonescriptdb.listen_addresses is no address of this machine: {error}"));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The addresses of a name. Resolving may take long, and is not done in the thread that serves.
async fn resolve(name: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    tokio::net::lookup_host((name, port)).await.map(Iterator::collect)
}
