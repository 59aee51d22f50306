//! Multipart forms that are there as a whole, and the first fields of one that is still coming.
//!
//! [RFC 7578](https://www.rfc-editor.org/rfc/rfc7578). The parser is multer; here is what is made of its fields, without I/O.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, stream};

/// Bytes of a text field at most; what is longer is no name and no flag.
pub const MAX_TEXT: usize = 64 * 1024;
/// Text fields that are kept.
pub const MAX_FIELDS: usize = 32;

/// The fields of a form.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Names and texts, in order; the first [`MAX_FIELDS`] of them.
    pub texts: Vec<(String, String)>,
    /// The field `schema` or `file`: a bundle.
    pub archive: Option<Bytes>,
}

/// A form that is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A field is larger than so many bytes.
    #[error("a field is larger than {0} bytes")]
    TooLarge(u64),
    /// It is no form.
    #[error("the multipart form is malformed: {0}")]
    Malformed(String),
}

/// The boundary that a Content-Type names; none if it is no multipart form.
pub fn boundary(content_type: &str) -> Option<String> {
    multer::parse_boundary(content_type).ok()
}

/// Takes a form apart whose archive may have `max_archive` bytes.
///
/// # Errors
/// [`FormError`].
pub fn read(whole: Bytes, boundary: &str, max_archive: usize) -> Result<Fields, FormError> {
    let mut fields = Fields::default();
    match walk(whole, boundary, max_archive, |field| fields.add(field)) {
        Ok(()) => Ok(fields),
        Err(multer::Error::FieldSizeExceeded { limit, .. }) => Err(FormError::TooLarge(limit)),
        Err(error) => Err(FormError::Malformed(error.to_string())),
    }
}

/// The text of a field of which all bytes are among the first ones of a form, as [`read`] will find it: that of the first field with the
/// name. None if it has not come yet, if something large is before it, and if it is empty.
pub fn text_at_start(start: Bytes, boundary: &str, name: &str) -> Option<String> {
    let mut found = None;
    // That the form breaks off is no error here.
    let _ = walk(start, boundary, MAX_TEXT, |field| match field {
        Field::Text(field, text) if field == name => {
            found = Some(text);
            false
        }
        _ => true,
    });
    found.filter(|text| !text.is_empty())
}

enum Field {
    Text(String, String),
    Archive(Bytes),
}

impl Fields {
    fn add(&mut self, field: Field) -> bool {
        match field {
            Field::Archive(bytes) => self.archive = Some(bytes),
            Field::Text(name, text) if self.texts.len() < MAX_FIELDS => self.texts.push((name, text)),
            Field::Text(..) => {}
        }
        true
    }
}

/// Gives the fields to `each` in order, until it says `false`.
fn walk(
    form: Bytes,
    boundary: &str,
    max_archive: usize,
    mut each: impl FnMut(Field) -> bool,
) -> Result<(), multer::Error> {
    let limits = multer::SizeLimit::new()
        .for_field("schema", max_archive as u64)
        .for_field("file", max_archive as u64)
        .per_field(MAX_TEXT as u64);
    let constraints = multer::Constraints::new().size_limit(limits);
    // In one piece: with each piece that comes the parser looks for its boundary from the beginning, which takes for ever if there is none.
    let whole = stream::iter([Ok::<Bytes, Infallible>(form)]);
    let mut multipart = multer::Multipart::with_constraints(whole, boundary, constraints);
    let fields = async {
        let mut texts = 0;
        while let Some(field) = multipart.next_field().await? {
            let go_on = match field.name().map(str::to_owned) {
                Some(name) if name == "schema" || name == "file" => each(Field::Archive(content(field).await?)),
                Some(name) if texts < MAX_FIELDS => {
                    texts += 1;
                    each(Field::Text(name, field.text().await?))
                }
                _ => true,
            };
            if !go_on {
                break;
            }
        }
        Ok(())
    };
    // What is there as a whole is not waited for.
    fields.now_or_never().unwrap_or(Err(multer::Error::IncompleteStream))
}

/// The bytes of a field; one piece stays where it is.
async fn content(mut field: multer::Field<'_>) -> Result<Bytes, multer::Error> {
    let Some(first) = field.chunk().await? else { return Ok(Bytes::new()) };
    let Some(second) = field.chunk().await? else { return Ok(first) };
    let mut whole = first.to_vec();
    whole.extend_from_slice(&second);
    while let Some(more) = field.chunk().await? {
        whole.extend_from_slice(&more);
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> Bytes {
        let mut form = String::new();
        for (name, text) in fields {
            form.push_str(&format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"));
        }
        form.push_str("--b--\r\n");
        form.into()
    }

    #[test]
    fn fields_and_the_archive() {
        let fields = read(form(&[("platform", "shop"), ("schema", "\x1f?"), ("force", "true")]), "b", 10).unwrap();
        let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(fields.texts, [text("platform", "shop"), text("force", "true")]);
        assert_eq!(fields.archive.unwrap(), "\x1f?");
        assert_eq!(boundary("multipart/form-data; boundary=b").as_deref(), Some("b"));
        assert_eq!(boundary("application/json"), None);
    }

    #[test]
    fn what_is_too_large_or_no_form() {
        assert_eq!(read(form(&[("schema", "12345678901")]), "b", 10), Err(FormError::TooLarge(10)));
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!(read(form(&[("platform", &long)]), "b", 10), Err(FormError::TooLarge(MAX_TEXT as u64)));
        for bytes in ["", "--b", "--b\r\n", "--c--\r\n", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx"] {
            assert!(matches!(read(bytes.into(), "b", 10), Err(FormError::Malformed(_))), "{bytes}");
        }
        let many = vec![("a", "x"); MAX_FIELDS + 5];
        assert_eq!(read(form(&many), "b", 10).unwrap().texts.len(), MAX_FIELDS);
    }

    #[test]
    fn a_field_is_known_as_soon_as_the_next_one_begins() {
        let whole = form(&[("tenant_id", "t"), ("platform", "shop"), ("platform", "other"), ("schema", "bytes")]);
        let end = "--b\r\nContent-Disposition: form-data; name=\"tenant_id\"\r\n\r\nt\r\n\
                   --b\r\nContent-Disposition: form-data; name=\"platform\"\r\n\r\nshop\r\n--b"
            .len();
        for length in 0..whole.len() {
            let known = text_at_start(whole.slice(..length), "b", "platform");
            assert_eq!(known.as_deref(), (length >= end).then_some("shop"), "{length}");
        }
    }

    #[test]
    fn a_field_behind_an_archive_is_not_waited_for() {
        let archive = "x".repeat(MAX_TEXT + 1);
        let whole = form(&[("schema", &archive), ("platform", "shop")]);
        assert_eq!(text_at_start(whole, "b", "platform"), None);
        assert_eq!(text_at_start(form(&[("platform", ""), ("platform", "shop")]), "b", "platform"), None);
    }
}
