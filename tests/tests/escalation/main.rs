//! Attempts to get at what is another's: by who writes functions, bundles and requests, and by who has a role of the cluster.

mod adopting;
mod calls;
mod copies;
mod logins;
mod requests;
mod secrets;
mod statements;
mod world;
