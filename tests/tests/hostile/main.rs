//! Loads and requests that are meant to do harm, while ordinary calls go on. What is refused is refused in bounded time and memory, and
//! no process of the server ends by it.
//!
//! `SSDB_HOSTILE=full` takes the full numbers (some minutes); each can be set by itself: `SSDB_SLOWLORIS` connections, `SSDB_BOMB_MB`
//! megabytes unpacked, `SSDB_ARCHIVE_FILES` files, `SSDB_MUTATED_REQUESTS`, `SSDB_MUTATED_ARCHIVES`. `--nocapture` shows the figures.

mod archives;
mod bundles;
mod load;
mod mutator;
mod requests;
mod slow;
mod victim;

/// A number of the environment: by its name, else the full one if full ones are asked for, else the short one.
fn number(name: &str, short: usize, full: usize) -> usize {
    let is_full = std::env::var("SSDB_HOSTILE").is_ok_and(|value| value == "full");
    let default = if is_full { full } else { short };
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}
