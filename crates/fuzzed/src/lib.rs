//! What fuzzing runs: a function for each kind of bytes that strangers send, or that come from another process. Each panics where a
//! promise is broken. `fuzz/` has a target for each of them, and `tests/corpus.rs` runs the committed corpus through them in every
//! `cargo test`.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::missing_panics_doc, reason = "to panic is what they are for")]

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use stonescriptdb_bundle::{Bundle, Kind, Limits};
use stonescriptdb_http::{Head, Limits as HeadLimits, form};
use stonescriptdb_protocol::{
    BackendRequest, BatchRequest, CallRequest, ExecutorRequest, Failure, FrameKind, GivenBack, HEADER_LEN, Handover,
    Header, Hello, MAX_FRAME, RowsHeader, decode_with_tail, encode,
};

/// Bytes of a connection: the head of a plain request. What is said of it does not change when more bytes come.
pub fn http(data: &[u8]) {
    const MOST: usize = 1 << 20;
    const LIMITS: HeadLimits = HeadLimits { head: 64 * 1024, headers: 100, body: MOST };
    let read = |bytes: &[u8]| stonescriptdb_http::head(bytes, "POST", &LIMITS, |path| path.starts_with("/call"));
    match read(data) {
        Head::Plain(plain) => {
            assert!(plain.length <= data.len() && plain.body <= MOST);
            assert!(!plain.headers.contains_key("transfer-encoding"));
            assert_eq!(plain.headers.get_all("content-length").iter().count(), 1);
            let Head::Plain(again) = read(&data[..plain.length]) else { panic!("its own bytes are another thing") };
            assert_eq!((again.length, again.body), (plain.length, plain.body));
            let more = [data, b"x"].concat();
            let Head::Plain(longer) = read(&more) else { panic!("a byte behind it makes it another thing") };
            assert_eq!((longer.length, longer.body), (plain.length, plain.body));
        }
        Head::Partial => {
            // Half of it is half of a head too, or a beginning that says nothing yet.
            assert!(!matches!(read(&data[..data.len() / 2]), Head::Plain(_)), "a part is whole and the whole is not");
        }
        Head::Other => {}
    }
}

/// A multipart form whose boundary is the first line, at most 70 bytes of it. What its first bytes say of a field is what the whole says.
pub fn form(data: &[u8]) {
    const MOST: usize = 4096;
    let end = data.iter().take(71).position(|byte| *byte == b'\n').unwrap_or(data.len().min(70));
    let (boundary, body) = (String::from_utf8_lossy(&data[..end]), &data[data.len().min(end + 1)..]);
    let whole = form::read(body.to_vec().into(), &boundary, MOST);
    match &whole {
        Ok(fields) => {
            assert!(fields.texts.len() <= form::MAX_FIELDS);
            assert!(fields.texts.iter().all(|(_, text)| text.len() <= form::MAX_TEXT));
            assert!(fields.archive.as_ref().is_none_or(|archive| archive.len() <= MOST));
        }
        Err(error) => assert!(error.to_string().len() < 5000, "{error}"),
    }
    for length in [body.len() / 4, body.len() / 2, body.len() * 3 / 4, body.len()] {
        let Some(early) = form::text_at_start(body[..length].to_vec().into(), &boundary, "platform") else { continue };
        let Ok(fields) = &whole else { continue };
        let Some((_, text)) = fields.texts.iter().find(|(name, _)| name == "platform") else {
            panic!("the first {length} bytes have a field that the whole has not")
        };
        assert_eq!(*text, early, "the first {length} bytes have another text");
    }
}

/// The values of Accept headers, a line each.
pub fn accept(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("accept", value);
        }
    }
    if stonescriptdb_http::wants_lines(&headers) {
        let name = stonescriptdb_http::LINES.as_bytes();
        let is_named = data.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
        assert!(is_named, "lines are wanted by somebody who does not name them");
    }
}

/// An archive as it is uploaded.
pub fn archive(data: &[u8]) {
    // Small limits, so that they are met, and no input takes long.
    let limits = Limits { max_archive_bytes: 1 << 20, max_unpacked_bytes: 4 << 20, max_entries: 200, max_ratio: 200 };
    read(data, &limits);
}

/// The text of a manifest, in an archive that is right otherwise.
pub fn manifest(data: &[u8]) {
    let mut tar = Vec::new();
    for (name, text) in [("postgresql/stonescript.json", data), ("postgresql/tables/t.sql", b"CREATE TABLE t ();")] {
        tar.extend_from_slice(&header(name, text.len()));
        tar.extend_from_slice(text);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    read(&tar, &Limits::default());
}

/// A ustar header of a file.
fn header(name: &str, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Reads an archive and holds the bundle to its promises.
fn read(data: &[u8], limits: &Limits) {
    let bundle = match Bundle::read(data, limits) {
        Ok(bundle) => bundle,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 5000, "{message}");
            assert!(!message.contains(|c: char| c.is_control() && c != '\u{fffd}'), "{message:?}");
            let _ = (error.path(), error.line());
            return;
        }
    };
    assert!(!bundle.files.is_empty() && bundle.files.len() <= limits.max_entries);
    assert!(bundle.files.iter().map(|file| file.text.len() as u64).sum::<u64>() <= limits.max_unpacked_bytes);
    assert!(bundle.warnings.len() <= 101);
    for file in &bundle.files {
        let Some((folder, rest)) = file.path.split_once('/') else { panic!("{} is in no folder", file.path) };
        assert_eq!(Kind::of_folder(folder), Some(file.kind));
        assert!(rest.split('/').all(|part| !part.is_empty() && !part.starts_with('.')), "{}", file.path);
        assert!(!file.path.contains(['\\', '\0', '\n']) && !file.text.contains('\0'));
        assert_eq!(file.extension_request().is_some(), file.kind == Kind::Extension);
    }
    // What it is completed to is a bundle with the same files.
    let Ok(completed) = bundle.completed_with(&bundle) else { panic!("memory does not fail") };
    match Bundle::read(&completed, &Limits { max_unpacked_bytes: u64::MAX, ..Limits::default() }) {
        Ok(again) => assert_eq!(again.files, bundle.files),
        Err(error) => panic!("what it is completed to is no bundle: {error}"),
    }
}

/// A frame, whichever kind it says it is.
pub fn frame(data: &[u8]) {
    let Some((head, payload)) = data.split_first_chunk::<HEADER_LEN>() else { return };
    if let Ok(header) = Header::read(*head) {
        assert!(header.payload < MAX_FRAME);
        assert_eq!(stonescriptdb_protocol::frame_header(header.kind, header.payload).ok().as_ref(), Some(head));
    }
    reads_back::<Hello>(payload);
    reads_back::<ExecutorRequest>(payload);
    reads_back::<CallRequest>(payload);
    reads_back::<RowsHeader>(payload);
    reads_back::<Failure>(payload);
    reads_back::<BackendRequest>(payload);
    reads_back::<BatchRequest>(payload);
    reads_back::<Handover>(payload);
    reads_back::<GivenBack>(payload);
}

/// What decodes as a message can be written, in no more bytes than it was: a number may be written at greater length than it needs.
fn reads_back<'a, M: Deserialize<'a> + Serialize>(payload: &'a [u8]) {
    let Ok((message, tail)) = decode_with_tail::<M>(payload) else { return };
    let read = payload.len() - tail.len();
    match encode(FrameKind::Request, &message) {
        Ok(written) => assert!(written.len() - HEADER_LEN <= read, "{read} bytes become {}", written.len()),
        Err(error) => panic!("what was read cannot be written: {error}"),
    }
}
