//! Requests to the server.

use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use crate::args::Global;
use crate::failure::{Exit, Failure};

/// What the server must be reached within. How long it then takes is its own affair: a deployment may take hours.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer that is kept in memory.
const LONGEST_ANSWER: u64 = 1 << 30;

/// Which token goes with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// The platform's, or the admin's if there is no other.
    Platform,
    /// The admin's.
    Admin,
}

/// The server.
pub(crate) struct Client<'g> {
    agent: Agent,
    global: &'g Global,
}

impl<'g> Client<'g> {
    pub(crate) fn new(global: &'g Global) -> Result<Client<'g>, Failure> {
        let mut tls = TlsConfig::builder();
        if let Some(file) = &global.ca_file {
            tls = tls.root_certs(RootCerts::from(authorities(file)?.into_iter()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            // A redirection of a POST would be a GET: better an error.
            .max_redirects(0)
            .user_agent(concat!("stonescriptdb/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(Client { agent: config.into(), global })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.global.url.trim_end_matches('/'))
    }

    fn token(&self, who: As) -> Option<String> {
        let Global { token, admin_token, .. } = self.global;
        let token = match who {
            As::Platform => token.as_ref().or(admin_token.as_ref()),
            As::Admin => admin_token.as_ref().or(token.as_ref()),
        };
        token.filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}"))
    }

    /// GET; the answer's JSON.
    pub(crate) fn get(&self, path: &str, query: &[(&str, Option<&str>)], who: As) -> Result<Value, Failure> {
        let mut request = self.agent.get(self.url(path));
        for (name, value) in query {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        if let Some(token) = self.token(who) {
            request = request.header("Authorization", token);
        }
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        self.json(response)
    }

    /// POST of JSON; the answer as it comes.
    pub(crate) fn post(&self, path: &str, body: &Value, headers: &[(&str, String)]) -> Result<Response<Body>, Failure> {
        self.send(path, "application/json", body.to_string().as_bytes(), headers)
    }

    /// POST of a form with an archive; the answer's status and JSON.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, String)], archive: &[u8]) -> Result<(u16, Value), Failure> {
        let (kind, body) = multipart(fields, archive);
        let response = self.send(path, &kind, &body, &[])?;
        let status = response.status().as_u16();
        Ok((status, self.read(response)?))
    }

    fn send(&self, path: &str, kind: &str, body: &[u8], headers: &[(&str, String)]) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.post(self.url(path)).header("Content-Type", kind);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(token) = self.token(As::Platform) {
            request = request.header("Authorization", token);
        }
        request.send(body).map_err(|error| self.unreachable(&error))
    }

    /// The server-sent events of a path.
    pub(crate) fn events(&self, path: &str) -> Result<BufReader<impl Read + use<>>, Failure> {
        let mut request = self.agent.get(self.url(path)).header("Accept", "text/event-stream");
        if let Some(token) = self.token(As::Platform) {
            request = request.header("Authorization", token);
        }
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(Failure::answered(status, self.read(response)?));
        }
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    /// The JSON of an answer that is no error.
    pub(crate) fn json(&self, response: Response<Body>) -> Result<Value, Failure> {
        let status = response.status().as_u16();
        let body = self.read(response)?;
        if (200..300).contains(&status) && !body.is_null() { Ok(body) } else { Err(Failure::answered(status, body)) }
    }

    /// The text of an answer that is no error.
    pub(crate) fn text(&self, response: Response<Body>) -> Result<String, Failure> {
        let status = response.status().as_u16();
        if status != 200 {
            return Err(Failure::answered(status, self.read(response)?));
        }
        let bytes = self.bytes(response)?;
        String::from_utf8(bytes).map_err(|_| Failure::answered(status, Value::Null))
    }

    fn bytes(&self, response: Response<Body>) -> Result<Vec<u8>, Failure> {
        let bytes = response.into_body().into_with_config().limit(LONGEST_ANSWER).read_to_vec();
        bytes.map_err(|error| self.unreachable(&error))
    }

    /// The JSON of an answer; null if it is none.
    fn read(&self, response: Response<Body>) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.bytes(response)?).unwrap_or_default())
    }

    pub(crate) fn unreachable(&self, error: &ureq::Error) -> Failure {
        let url = &self.global.url;
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Failure::usage(format!("the address {url} is none: {error}"))
            }
            _ => Failure::new(Exit::Unreachable, "unreachable", format!("{url} cannot be reached: {error}"))
                .with("hint", "The address is --url or SSDB_URL."),
        }
    }
}

fn authorities(file: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let text = std::fs::read(file).map_err(|error| Failure::file(file, &error))?;
    let found: Vec<Certificate<'static>> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Failure::usage(format!("{}: no certificate in it", file.display())));
    }
    Ok(found)
}

/// The content type and the body of a form whose file is the field `schema`.
fn multipart(fields: &[(&str, String)], archive: &[u8]) -> (String, Vec<u8>) {
    let boundary = boundary(archive);
    let mut body = Vec::with_capacity(archive.len() + 1024);
    for (name, value) in fields {
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"schema\"; filename=\"postgresql.tar.gz\"\r\n\
         Content-Type: application/gzip\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(archive);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// A text that is not in the archive: a form's parts end where it comes.
fn boundary(archive: &[u8]) -> String {
    let mut number = 0_u32;
    loop {
        let boundary = format!("stonescriptdb-{number:08x}");
        let is_in = archive.windows(boundary.len()).any(|window| window == boundary.as_bytes());
        if !is_in {
            return boundary;
        }
        number = number.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_not_in_what_it_bounds() {
        assert_eq!(boundary(b"abc"), "stonescriptdb-00000000");
        assert_eq!(boundary(b"..stonescriptdb-00000000.."), "stonescriptdb-00000001");
    }

    #[test]
    fn a_form() {
        let (kind, body) = multipart(&[("platform", "shop".to_owned())], b"\x1f\x8b");
        assert_eq!(kind, "multipart/form-data; boundary=stonescriptdb-00000000");
        let text = String::from_utf8_lossy(&body);
        assert!(text.starts_with(
            "--stonescriptdb-00000000\r\nContent-Disposition: form-data; name=\"platform\"\r\n\r\nshop\r\n--"
        ));
        assert!(body.ends_with(b"\r\n\r\n\x1f\x8b\r\n--stonescriptdb-00000000--\r\n"));
    }
}
