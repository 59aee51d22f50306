//! Frames: a four-byte little-endian length, one byte of kind, and the payload.
//!
//! The length counts the kind and the payload. Both sides of the socket run on one machine and from one build, so payloads are
//! postcard (compact, borrowed on reading) and carry no version.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// Bytes before a payload: the length and the kind.
pub const HEADER_LEN: usize = 5;

/// The greatest length a frame may have, in bytes: a result of [`MAX_FRAME`] bytes is refused before it is sent. PostgreSQL's
/// own limit for one value is 1 GB.
pub const MAX_FRAME: usize = 1 << 30;

/// What a frame's payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// Executor → broker, once: [`crate::Hello`].
    Hello = 1,
    /// Broker → executor: [`crate::ExecutorRequest`].
    Request = 2,
    /// Broker → executor, the common case without the enum around it: [`crate::CallRequest`]. Behind it, up to the end of the frame, are
    /// the headers that came with it, a line `name:value` each: they are looked at only if the function asks for them.
    Call = 3,
    /// Executor → broker, and broker → backend: [`crate::RowsHeader`], then JSON text up to the end of the frame.
    Rows = 4,
    /// A [`crate::Failure`].
    Failure = 5,
    /// The answer to a request that is not a call; its type follows from the request.
    Answer = 6,
    /// Backend → broker: [`crate::BackendRequest`].
    Ask = 7,
    /// Broker → executor: [`crate::BatchRequest`], then the request's headers as for a call.
    Batch = 8,
    /// Broker → executor, with a descriptor beside it: [`crate::Handover`], then what was read of the connection and not answered.
    Handover = 9,
    /// Executor → broker: [`crate::GivenBack`], then what is left of an answer, then what was read and not answered.
    GivenBack = 10,
    /// Executor → broker, any number before the Rows or Failure frame of a call whose rows are asked for as lines: as a Rows frame, with the
    /// number of rows so far, and whole lines.
    Lines = 11,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<FrameKind> {
        use FrameKind::*;
        [Hello, Request, Call, Rows, Failure, Answer, Ask, Batch, Handover, GivenBack, Lines]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A frame's first bytes, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the payload is.
    pub kind: FrameKind,
    /// Bytes of payload that follow.
    pub payload: usize,
}

/// Bytes that are not a frame. Both ends are ours, so this is a bug or a stranger on the socket: close the connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is zero or over the limit.
    #[error("a frame of {0} bytes is outside the limits")]
    Length(u32),
    /// The kind is not one of [`FrameKind`].
    #[error("unknown kind of frame {0}")]
    Kind(u8),
    /// The payload does not decode as what its kind says.
    #[error("the payload does not decode: {0}")]
    Payload(#[from] postcard::Error),
}

impl Header {
    /// Reads the first [`HEADER_LEN`] bytes of a frame.
    ///
    /// # Errors
    /// A length out of bounds or an unknown kind.
    pub fn read(bytes: [u8; HEADER_LEN]) -> Result<Header, FrameError> {
        let [a, b, c, d, kind] = bytes;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length == 0 || length as usize > MAX_FRAME {
            return Err(FrameError::Length(length));
        }
        let kind = FrameKind::from_byte(kind).ok_or(FrameError::Kind(kind))?;
        Ok(Header { kind, payload: length as usize - 1 })
    }
}

/// The header of a frame with a payload of so many bytes.
///
/// # Errors
/// The payload is over [`MAX_FRAME`].
pub fn frame_header(kind: FrameKind, payload: usize) -> Result<[u8; HEADER_LEN], FrameError> {
    let length = u32::try_from(payload + 1).unwrap_or(u32::MAX);
    if length as usize > MAX_FRAME {
        return Err(FrameError::Length(length));
    }
    let [a, b, c, d] = length.to_le_bytes();
    Ok([a, b, c, d, kind as u8])
}

/// A whole frame around one message.
///
/// # Errors
/// The encoded message is over [`MAX_FRAME`].
pub fn encode<M: Serialize>(kind: FrameKind, message: &M) -> Result<Vec<u8>, FrameError> {
    encode_with(kind, message, |_| ())
}

/// Room for a typical message, so that the frame does not grow while it is written.
const TYPICAL: usize = 512;

/// As [`encode`], with what `tail` appends behind the message. [`decode_with_tail`] takes it apart.
///
/// # Errors
/// The whole is over [`MAX_FRAME`].
pub fn encode_with<M: Serialize>(
    kind: FrameKind,
    message: &M,
    tail: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<u8>, FrameError> {
    let mut frame = Vec::with_capacity(TYPICAL);
    frame.resize(HEADER_LEN, 0);
    let mut frame = postcard::serialize_with_flavor(message, Runs(frame))?;
    tail(&mut frame);
    let header = frame_header(kind, frame.len() - HEADER_LEN)?;
    if let Some(start) = frame.first_chunk_mut::<HEADER_LEN>() {
        *start = header;
    }
    Ok(frame)
}

/// Writes texts and runs of bytes as a whole; postcard's own writers for what grows go byte by byte.
struct Runs(Vec<u8>);

impl Flavor for Runs {
    type Output = Vec<u8>;

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// A payload's message, and the bytes behind it.
///
/// # Errors
/// The bytes are no such message.
pub fn decode_with_tail<'a, M: Deserialize<'a>>(payload: &'a [u8]) -> Result<(M, &'a [u8]), FrameError> {
    Ok(postcard::take_from_bytes(payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, CallRequest, Form, RequestContext, Rules};

    #[test]
    fn a_frame_reads_back() {
        let rules = Rules {
            timeout_ms: 30_000,
            asked_ms: 0,
            max_result: 1,
            retries: None,
            access: Access::Write,
            form: Form::Whole,
        };
        let context = RequestContext { id: "x", platform: "shop", tenant: "main", ..RequestContext::default() };
        let call = CallRequest { function: "get_item", params: b"[1]", rules, context };
        let frame = encode_with(FrameKind::Call, &call, |frame| frame.extend_from_slice(b"accept:*/*\n")).unwrap();
        let header = Header::read(*frame.first_chunk().unwrap()).unwrap();
        assert_eq!(header.kind, FrameKind::Call);
        assert_eq!(header.payload, frame.len() - HEADER_LEN);
        let (back, tail) = decode_with_tail::<CallRequest>(&frame[HEADER_LEN..]).unwrap();
        assert_eq!((back, tail), (call, &b"accept:*/*\n"[..]));
    }

    /// Counts the bytes that are written one by one.
    struct Single(usize);

    impl Flavor for &mut Single {
        type Output = ();

        fn try_extend(&mut self, _: &[u8]) -> postcard::Result<()> {
            Ok(())
        }

        fn try_push(&mut self, _: u8) -> postcard::Result<()> {
            self.0 += 1;
            Ok(())
        }

        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_may_be_large_is_not_written_byte_by_byte() {
        fn single(message: &impl Serialize) -> usize {
            let mut single = Single(0);
            postcard::serialize_with_flavor(message, &mut single).unwrap();
            single.0
        }
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let identify = crate::ControlRequest::Identify { archive: bytes.clone().into() };
        assert!(single(&identify) < 100, "{}", single(&identify));
        let call = crate::OneCall { function: "f", params: &bytes };
        assert!(single(&call) < 100, "{}", single(&call));

        let frame = encode(FrameKind::Request, &identify).unwrap();
        let (back, tail) = decode_with_tail::<crate::ControlRequest>(&frame[HEADER_LEN..]).unwrap();
        let crate::ControlRequest::Identify { archive } = back else { panic!("{back:?}") };
        assert_eq!((&*archive, tail.len()), (&*bytes, 0));
    }

    #[test]
    fn lengths_and_kinds_out_of_bounds_are_refused() {
        assert!(matches!(Header::read([0, 0, 0, 0, 1]), Err(FrameError::Length(0))));
        assert!(matches!(Header::read([0xff, 0xff, 0xff, 0xff, 1]), Err(FrameError::Length(_))));
        assert!(matches!(Header::read([1, 0, 0, 0, 99]), Err(FrameError::Kind(99))));
        assert!(frame_header(FrameKind::Rows, MAX_FRAME).is_err());
    }
}
