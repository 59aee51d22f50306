//! What is read of HTTP by hand, where hyper is not: the heads of requests that executors serve themselves, the media ranges of
//! `Accept`, and multipart forms. Pure code on bytes of strangers, so that it can be fuzzed (`fuzz/`).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod accept;
pub mod form;
mod head;

pub use accept::{LINES, wants_lines};
pub use head::{Head, Limits, MAX_HEADERS, Plain, head};
