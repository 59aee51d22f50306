//! Reading bodies: JSON and multipart, within limits of size and time.

use std::time::Duration;

use axum::extract::Request;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::settings::Settings;

/// The whole body.
///
/// # Errors
/// `payload_too_large` over `limit` bytes, `invalid_request` if it breaks off or takes too long.
pub(super) async fn read<B>(body: B, limit: usize, patience: Duration) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(invalid("the body broke off")),
        Err(_) => Err(invalid("the body did not arrive in time")),
    }
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

/// Reads a JSON body; `what` says in an error what it is of.
///
/// # Errors
/// `unsupported_media_type`, `payload_too_large`, `invalid_request`.
pub(super) async fn json<T: DeserializeOwned>(request: Request, settings: &Settings, what: &str) -> Result<T, Failure> {
    require_json(request.headers())?;
    let bytes = read(request.into_body(), settings.max_request_body, settings.body_timeout).await?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body is not the JSON of {what}: {error}")))
}

/// A value of a query string, decoded.
pub(super) fn url_value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The fields of a multipart form.
#[derive(Default)]
pub(super) struct Form {
    texts: Vec<(String, String)>,
    /// The field with the archive.
    pub(super) archive: Option<Bytes>,
}

impl Form {
    /// A field's text; an empty one is absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.texts
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, text)| text.as_str())
            .filter(|text| !text.is_empty())
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

/// Text fields are short; what is longer is no name and no flag.
const MAX_TEXT: usize = 64 * 1024;
const MAX_FIELDS: usize = 32;

/// Reads a multipart form whose archive is in the field `schema` (or `file`).
///
/// # Errors
/// `unsupported_media_type`, `invalid_request`, `payload_too_large`.
pub(super) async fn form(request: Request, max_archive: usize, patience: Duration) -> Result<Form, Failure> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| {
        Failure::new(ErrorCode::UnsupportedMediaType, "the body must be a multipart form")
            .hint("Send multipart/form-data, as curl -F does.")
    })?;
    if request.body().size_hint().lower() > (max_archive + MAX_TEXT * MAX_FIELDS) as u64 {
        return Err(too_large(max_archive));
    }
    let limits = multer::SizeLimit::new()
        .whole_stream((max_archive + MAX_TEXT * MAX_FIELDS) as u64)
        .for_field("schema", max_archive as u64)
        .for_field("file", max_archive as u64)
        .per_field(MAX_TEXT as u64);
    let constraints = multer::Constraints::new().size_limit(limits);
    let multipart =
        multer::Multipart::with_constraints(BodyExt::into_data_stream(request.into_body()), boundary, constraints);
    match tokio::time::timeout(patience, fields(multipart)).await {
        Ok(Ok(form)) => Ok(form),
        Ok(Err(multer::Error::FieldSizeExceeded { limit, .. } | multer::Error::StreamSizeExceeded { limit })) => {
            Err(too_large(limit as usize))
        }
        Ok(Err(error)) => Err(invalid(format!("the multipart form is malformed: {error}"))),
        Err(_) => Err(invalid("the body did not arrive in time")),
    }
}

async fn fields(mut multipart: multer::Multipart<'_>) -> Result<Form, multer::Error> {
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await? {
        match field.name().map(str::to_owned) {
            Some(name) if name == "schema" || name == "file" => form.archive = Some(field.bytes().await?),
            Some(name) if form.texts.len() < MAX_FIELDS => form.texts.push((name, field.text().await?)),
            _ => {}
        }
    }
    Ok(form)
}

/// The start of a text that a message repeats.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("…".chars()).collect()
    }
}
