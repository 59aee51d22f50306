//! What the server worker and an executor say of a connection that the executor serves itself.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Rate;

/// A client's connection, which has called one tenant again and again, passes to an executor of that tenant.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone)]
pub struct Handover {
    /// The place in shared memory that says in whose hands the connection is.
    pub seat: u32,
    /// The connection's number.
    pub connection: u64,
    /// The epoch in which the client was let in.
    pub epoch: u64,
    /// When that has to be looked at again at the latest, in milliseconds of Unix time.
    pub until_ms: Option<u64>,
    /// The other end's address.
    pub peer: IpAddr,
    /// Who is called, as it was sent.
    pub whom: SentNames,
    /// The platform as it was registered.
    pub platform: String,
    /// The tenant as it was registered.
    pub tenant: String,
    /// The database, for errors.
    pub database: String,
    /// The networks that the listener lets in, by address and length.
    pub allowed: Vec<(IpAddr, u8)>,
    /// The networks of the platform, of these; none is all.
    pub networks: Option<Vec<(IpAddr, u8)>>,
    /// How many requests a second the platform may send.
    pub limit: Option<Limit>,
    /// The header with which the client was let in. A request with another one is not the executor's to judge.
    pub authorization: Option<Vec<u8>>,
}

/// A limit of requests a second, and where the requests are counted.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct Limit {
    /// The bucket in shared memory.
    pub bucket: u32,
    /// The rate.
    pub rate: Rate,
}

/// Which database a call named, as it was sent.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone)]
pub struct SentNames {
    /// The platform.
    pub platform: String,
    /// The stored schema.
    pub schema: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
}

/// A connection on which something has come that the executor does not answer itself, or on which no more comes.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
pub struct GivenBack {
    /// The connection's number.
    pub connection: u64,
    /// Bytes of the last answer that are still to be written: they follow this message.
    pub answer: u32,
}
