//! The head of a plain request: a method and path that are asked for, and a body whose length is told.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// As many as hyper takes.
pub const MAX_HEADERS: usize = 100;

/// What the first bytes of a request are.
#[derive(Debug)]
pub enum Head {
    /// A plain one.
    Plain(Plain),
    /// The beginning of a head.
    Partial,
    /// Something else, an error among it: whoever reads all of HTTP has to look at it.
    Other,
}

/// Up to what size a request is read by hand.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the head.
    pub head: usize,
    /// Header lines; never more than [`MAX_HEADERS`].
    pub headers: usize,
    /// Bytes of the body.
    pub body: usize,
}

/// The head of a plain request.
#[derive(Debug)]
pub struct Plain {
    /// Its own bytes.
    pub length: usize,
    /// Those of the body behind it.
    pub body: usize,
    /// Its headers.
    pub headers: HeaderMap,
}

/// Reads the head of a request; plain is `method path HTTP/1.1`, with a path that is one of those meant, and exactly one length, on a
/// connection that stays open, within the limits and without anything that changes how the request is read.
pub fn head(bytes: &[u8], method: &str, limits: &Limits, is_meant: impl FnOnce(&str) -> bool) -> Head {
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut room);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Other,
    };
    if length > limits.head || request.headers.len() > limits.headers {
        return Head::Other;
    }
    if (request.method, request.version) != (Some(method), Some(1)) || !request.path.is_some_and(is_meant) {
        return Head::Other;
    }
    plain(request.headers, length, limits.body).map_or(Head::Other, Head::Plain)
}

fn plain(sent: &[httparse::Header], length: usize, most: usize) -> Option<Plain> {
    let mut headers = HeaderMap::with_capacity(sent.len());
    for header in sent {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    let needs_more = [TRANSFER_ENCODING, EXPECT, UPGRADE].iter().any(|name| headers.contains_key(name));
    let stays = headers.get_all(CONNECTION).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
    let [body] = *headers.get_all(CONTENT_LENGTH).iter().map(number).collect::<Option<Vec<_>>>()?.as_slice() else {
        return None;
    };
    (!needs_more && stays && body <= most).then_some(Plain { length, body, headers })
}

fn number(value: &HeaderValue) -> Option<usize> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Head {
        head(text.as_bytes(), "POST", &Limits { head: 300, headers: 8, body: 1000 }, |path| path == "/call")
    }

    #[test]
    fn plain_requests_are_read() {
        let text =
            "POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nConnection: Keep-Alive\r\n\r\n{\"platform\"";
        let Head::Plain(plain) = read(text) else { panic!("it is plain") };
        assert_eq!((plain.length, plain.body), (text.find('{').unwrap(), 12));
        assert_eq!(plain.headers["host"], "x");
        for end in 0..plain.length {
            assert!(matches!(read(&text[..end]), Head::Partial), "{end} bytes of it");
        }
    }

    #[test]
    fn whatever_changes_how_it_is_read_is_not_plain() {
        for lines in [
            "",
            "Content-Length: 1001\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 1\r\nExpect: 100-continue\r\n",
            "Content-Length: 1\r\nUpgrade: h2c\r\n",
            "Content-Length: 1\r\nConnection: close\r\n",
            "Content-Length : 1\r\n",
        ] {
            let head = read(&format!("POST /call HTTP/1.1\r\n{lines}\r\n"));
            assert!(matches!(head, Head::Other), "{lines:?} gives {head:?}");
        }
        let many = "A: b\r\n".repeat(8);
        assert!(matches!(read(&format!("POST /call HTTP/1.1\r\nContent-Length: 1\r\n{many}\r\n")), Head::Other));
        let long = "x".repeat(300);
        assert!(matches!(read(&format!("POST /call HTTP/1.1\r\nContent-Length: 1\r\nA: {long}\r\n\r\n")), Head::Other));
        assert!(matches!(read("POST /calls HTTP/1.1\r\nContent-Length: 1\r\n\r\n"), Head::Other));
        assert!(matches!(read("GET /call HTTP/1.1\r\nContent-Length: 1\r\n\r\n"), Head::Other));
        assert!(matches!(read("POST /call HTTP/1.0\r\nContent-Length: 1\r\n\r\n"), Head::Other));
    }
}
