//! The bytes of a bundle in a message.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A bundle's bytes as they were sent. Clones share them.
///
/// In a frame they are one run of bytes. A `Vec<u8>` would be written and read as a list of numbers, byte by byte, and an archive has
/// millions of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Archive(Bytes);

impl From<Bytes> for Archive {
    fn from(bytes: Bytes) -> Archive {
        Archive(bytes)
    }
}

impl From<Vec<u8>> for Archive {
    fn from(bytes: Vec<u8>) -> Archive {
        Archive(bytes.into())
    }
}

impl Deref for Archive {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Its length: what is in it is of no use in a message for people.
impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Archive of {} bytes", self.0.len())
    }
}

impl Serialize for Archive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        run::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Archive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Archive, D::Error> {
        run::deserialize(deserializer).map(|bytes| Archive(Bytes::from(bytes)))
    }
}

/// For fields that are bytes: one run instead of a list of numbers.
pub(crate) mod run {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes.as_ref())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Run;
        impl Visitor<'_> for Run {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a run of bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Run)
    }
}
