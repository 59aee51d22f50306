//! Reading bodies: JSON and multipart, within limits of size and time.

use std::ops::Deref;
use std::pin::pin;

use axum::extract::Request;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use stonescriptdb_http::form::{self, Fields, FormError, MAX_FIELDS, MAX_TEXT};
use stonescriptdb_protocol::{Archive, ErrorCode, Failure};

use super::room::{Room, Upload};
use crate::server::apart::apart;
use crate::settings::Settings;

/// A whole body, and the room that it takes.
pub(super) struct Read {
    bytes: Bytes,
    _room: Room,
}

impl Deref for Read {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The whole body of a request that brings no archive.
///
/// # Errors
/// `payload_too_large` over `max_request_body`, `pool_exhausted` if there is no room for it, `invalid_request` if it breaks off or takes
/// too long.
pub(super) async fn read<B>(body: B, settings: &Settings) -> Result<Read, Failure>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let limit = settings.max_request_body;
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let room = Room::of_call(settings);
    match tokio::time::timeout(settings.body_timeout, gather(body, limit, &room, |_| Ok(()))).await {
        Ok(bytes) => Ok(Read { bytes: bytes?, _room: room }),
        Err(_) => Err(invalid("the body did not arrive in time")),
    }
}

/// One piece, which is what most bodies are, stays as it is. Of several a whole is made at once: small pieces cost more than they hold.
/// `look` sees, with each piece, all that has come until then, and may end it.
async fn gather<B>(
    body: B,
    limit: usize,
    room: &Room,
    mut look: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| invalid("the body broke off"))?.into_data() else { continue };
        if first.len().max(whole.len()) + piece.len() > limit {
            return Err(too_large(limit));
        }
        room.grow(piece.len())?;
        if first.is_empty() && whole.is_empty() {
            first = piece;
            look(&first)?;
            continue;
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&piece);
        look(&whole)?;
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

pub(super) fn too_large(limit: usize) -> Failure {
    Failure::new(ErrorCode::PayloadTooLarge, format!("the body is larger than the {limit} bytes that are allowed"))
}

pub(super) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}

/// Lets a JSON body pass: by its media type, or without one (the standalone gateway's clients send none at times).
///
/// # Errors
/// `unsupported_media_type`.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::UnsupportedMediaType, "the body must be JSON")
        .hint("Send Content-Type: application/json."))
}

/// Lets JSON pass that is not nested too deeply. What is no JSON passes too: its parser says so.
///
/// # Errors
/// `invalid_request`.
pub(crate) fn check_depth(json: &[u8], settings: &Settings) -> Result<(), Failure> {
    let most = settings.max_json_depth;
    // As nearly all are: so many brackets are not in it.
    if json.len() <= most {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => drop(bytes.next()),
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > most {
                    return Err(invalid(format!("the JSON is nested deeper than the {most} levels that are allowed")));
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Reads a JSON body; `what` says in an error what it is of.
///
/// # Errors
/// `unsupported_media_type`, `payload_too_large`, `invalid_request`.
pub(super) async fn json<T: DeserializeOwned>(request: Request, settings: &Settings, what: &str) -> Result<T, Failure> {
    require_json(request.headers())?;
    let bytes = read(request.into_body(), settings).await?;
    check_depth(&bytes, settings)?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body is not the JSON of {what}: {error}")))
}

/// A value of a query string, decoded.
pub(super) fn url_value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A multipart form.
pub(super) struct Form {
    fields: Fields,
    /// The memory that it takes, for as long as the archive is there.
    pub(super) room: Room,
}

impl Form {
    /// Takes the archive; an empty one is absent.
    pub(super) fn archive(&mut self) -> Option<Archive> {
        self.fields.archive.take().filter(|archive| !archive.is_empty()).map(Archive::from)
    }

    /// A field's text; an empty one is absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let texts = &self.fields.texts;
        texts.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_str()).filter(|text| !text.is_empty())
    }

    /// Whether a field says yes: `true` or `1`.
    ///
    /// # Errors
    /// `invalid_request` for anything else but `false`, `0` or nothing.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(invalid(format!("the field {name} is true or false, not \"{}\"", shortened(other)))),
        }
    }
}

/// The field `on_error`: whether the other databases follow after one has failed.
///
/// # Errors
/// `invalid_request`.
pub(super) fn goes_on_after_errors(value: Option<&str>, default: bool) -> Result<bool, Failure> {
    match value {
        None => Ok(default),
        Some("stop") => Ok(false),
        Some("continue") => Ok(true),
        Some(other) => Err(invalid(format!("the field on_error is stop or continue, not \"{}\"", shortened(other)))),
    }
}

/// What is sent beside an archive, at most.
const BESIDE: usize = MAX_TEXT * MAX_FIELDS;

/// Reads a multipart form whose archive is in the field `schema` (or `file`). As soon as the field `platform` has come, if it comes before
/// the archive, `may_go_on` is asked whether the rest is worth receiving. What it says is not the last word: it is about the first bytes.
///
/// # Errors
/// `unsupported_media_type`, `invalid_request`, `payload_too_large`, `pool_exhausted`; what `may_go_on` says.
pub(super) async fn form(
    request: Request,
    settings: &Settings,
    may_go_on: impl Fn(&str) -> Result<(), Failure>,
) -> Result<Form, Failure> {
    let max_archive = settings.max_archive_size;
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = form::boundary(kind).ok_or_else(|| {
        Failure::new(ErrorCode::UnsupportedMediaType, "the body must be a multipart form")
            .hint("Send multipart/form-data, as curl -F does.")
    })?;
    if request.body().size_hint().lower() > (max_archive + BESIDE) as u64 {
        return Err(too_large(max_archive));
    }
    let upload = Upload::begin(settings)?;
    let room = Room::of_archive(settings);
    let mut start = Start { boundary: &boundary, may_go_on, looked_at: 0, is_known: false };
    let whole = gather(request.into_body(), max_archive + BESIDE, &room, |start_of_it| start.look(start_of_it));
    let whole = match tokio::time::timeout(settings.body_timeout, whole).await {
        Ok(Ok(whole)) => whole,
        Ok(Err(failure)) if failure.code == ErrorCode::PayloadTooLarge => return Err(too_large(max_archive)),
        Ok(Err(failure)) => return Err(failure),
        Err(_) => return Err(invalid("the body did not arrive in time")),
    };
    // The room and the place among the uploads stay taken until it has been taken apart, whether or not somebody still waits for that.
    let form = apart(whole.len(), move || {
        let fields = form::read(whole, &boundary, max_archive);
        drop(upload);
        fields.map(|fields| Form { fields, room })
    });
    form.await?.map_err(|error| match error {
        FormError::TooLarge(limit) => too_large(limit as usize),
        malformed @ FormError::Malformed(_) => invalid(malformed.to_string()),
    })
}

/// The first bytes of a form that is coming.
struct Start<'f, F> {
    boundary: &'f str,
    may_go_on: F,
    /// How many bytes there were at the last look.
    looked_at: usize,
    /// The platform was in them, or will not be.
    is_known: bool,
}

impl<F: Fn(&str) -> Result<(), Failure>> Start<'_, F> {
    fn look(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // Each time there is twice as much, so that one who sends byte by byte does not have it read again for each.
        if self.is_known || bytes.len() < self.looked_at * 2 {
            return Ok(());
        }
        self.looked_at = bytes.len();
        self.is_known = bytes.len() >= MAX_TEXT;
        let start = bytes.get(..MAX_TEXT).unwrap_or(bytes);
        match form::text_at_start(Bytes::copy_from_slice(start), self.boundary, "platform") {
            Some(platform) => {
                self.is_known = true;
                (self.may_go_on)(&platform)
            }
            None => Ok(()),
        }
    }
}

/// The start of a text that a message repeats.
pub(in crate::server) fn shortened(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("…".chars()).collect()
    }
}
