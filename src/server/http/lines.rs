//! Rows as lines, sent while the function runs.
//!
//! The body asks the executor for its next frame when the connection has room, and not before: what is in memory is a frame or two, and
//! the executor waits in its own socket. If the client goes, the body goes, and with it the lease: the call is cancelled.

use std::io;

use axum::body::Body;
use axum::response::Response;
use futures_util::stream::unfold;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;
use stonescriptdb_protocol::Failure;

use super::answer::RequestId;
use crate::error;
use crate::postgres::counters;
use crate::server::calls::{Lines, Part};
use crate::server::outgoing;
use stonescriptdb_http::LINES;

/// What comes next.
enum Stage {
    /// A part of the rows.
    Rows(Lines),
    /// The end of a connection that has had the line of an error.
    Abort,
    End,
}

/// The answer, whose first rows are there.
pub(super) fn answer(lines: Lines, id: &RequestId) -> Response {
    let id = id.clone();
    let stages = unfold(Stage::Rows(lines), move |stage| {
        let id = id.clone();
        async move {
            match stage {
                Stage::Rows(lines) => match lines.next().await {
                    Part::More(text, lines) => Some((Ok(text), Stage::Rows(lines))),
                    Part::Last(text) => Some((Ok(text), Stage::End)),
                    Part::Failed(failure) => Some((Ok(line(&failure, &id)), Stage::Abort)),
                },
                Stage::Abort => {
                    // What is not yet written would be lost with the connection.
                    outgoing::flushed().await;
                    Some((Err(io::Error::other("the call failed")), Stage::End))
                }
                Stage::End => None,
            }
        }
    });
    let mut response = Response::new(Body::from_stream(stages));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(LINES));
    response
}

/// The line of an error that came too late for an answer of its own.
fn line(failure: &Failure, id: &RequestId) -> Bytes {
    counters::error(failure.code as usize);
    Bytes::from(format!("{}\n", json!({"error": error::to_json(failure, Some(id.as_str()))})))
}
