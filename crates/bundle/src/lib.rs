//! Reads a *bundle*: the archive in which a platform ships its database, as extensions, types, tables, migrations, functions,
//! views and seeders.
//!
//! The archive is gzip or plain tar, comes from outside and may be hostile. So it is read as a stream with every limit checked on
//! the way, nothing is unpacked to disk, no size that the archive claims is believed before the bytes are there, and everything
//! that a bundle has no use for (links, devices, `..`) is refused rather than interpreted. [`Bundle::read`] is the way in:
//!
//! ```
//! use stonescriptdb_bundle::{Bundle, BundleError, Limits};
//!
//! let error = Bundle::read(b"PK\x03\x04...", &Limits::default()).unwrap_err();
//! assert_eq!(error, BundleError::NotAnArchive { found: "a zip file" });
//! ```
//!
//! The stages, one file each: `stream` (gzip to bytes, limits), `members` (bytes to tar members), `path` (safe names), `layout`
//! (which folder is the root, what kind a file is, what is ignored), `bundle` (the result). [`gateway`] has the checksums of the
//! standalone gateway, for databases that it deployed.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod bundle;
mod error;
pub mod gateway;
mod hash;
mod kind;
mod layout;
mod limits;
mod manifest;
mod members;
mod merge;
mod path;
mod source;
mod stream;

pub use bundle::Bundle;
pub use error::BundleError;
pub use kind::Kind;
pub use limits::Limits;
pub use manifest::Manifest;
pub use source::{ExtensionRequest, SourceFile};
