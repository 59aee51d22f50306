//! Fleets: stored schemas, deployments over many databases and their progress, the life of tenants, tokens.
//!
//! `SSDB_FLEET` is the number of tenants of the largest test (40), `SSDB_CRASHES` how often the whole cluster is killed (2).

mod adopting;
mod calling;
mod canary;
mod cancelled;
mod checked;
mod crash;
mod events;
mod failing;
mod kit;
mod load;
mod many;
mod names;
mod outside;
mod planning;
mod progress;
mod restoring;
mod running;
mod stored;
mod stored_sql;
mod storm;
mod tenants;
mod together;
mod token_routes;
mod tokens;
mod unchanged;
