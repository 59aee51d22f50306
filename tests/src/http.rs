//! A small HTTP client that hides nothing: every status is an answer, and an answer shows itself whole when an assertion on it fails.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::{Value, json};

use crate::wire::Wire;

/// How long an answer may take: above the extension's own call timeout (30 s), which shall come first.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The boundary of multipart bodies; long enough not to be in an archive.
const BOUNDARY: &str = "----acceptance-5f0c9e2b7d1a4c38";

/// A client of a cluster's HTTP service. Every request takes a connection of its own; [`Http::wire`] is for more on one.
#[derive(Clone)]
pub struct Http {
    address: IpAddr,
    port: u16,
    admin_token: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Duration,
}

impl Http {
    /// A client of 127.0.0.1:`port`.
    pub fn new(port: u16, admin_token: Option<&str>) -> Http {
        let admin_token = admin_token.map(str::to_owned);
        Http { address: Ipv4Addr::LOCALHOST.into(), port, admin_token, headers: Vec::new(), timeout: TIMEOUT }
    }

    /// This client, connecting to another address of this machine.
    pub fn to(&self, address: &str) -> Http {
        Http { address: address.parse().expect("an address"), ..self.clone() }
    }

    /// This client, sending one header more with every request.
    pub fn header(&self, name: &str, value: &str) -> Http {
        let mut http = self.clone();
        http.headers.push((name.into(), value.into()));
        http
    }

    /// This client, waiting for an answer no longer than that.
    pub fn timeout(&self, timeout: Duration) -> Http {
        Http { timeout, ..self.clone() }
    }

    /// This client with a bearer token.
    pub fn bearer(&self, token: &str) -> Http {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// This client with the cluster's admin token.
    ///
    /// # Panics
    /// When the cluster has none.
    pub fn admin(&self) -> Http {
        self.bearer(self.admin_token.as_deref().expect("the cluster has an admin token"))
    }

    /// A connection for raw bytes.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        self.try_wire().unwrap_or_else(|e| panic!("connecting to {} at {}: {e}", self.address, self.port))
    }

    /// A connection for raw bytes, if there is one to be had.
    pub fn try_wire(&self) -> io::Result<Wire> {
        Wire::connect(self.address, self.port, self.timeout)
    }

    /// The bytes of a request; `headers` beside Host, Content-Length and this client's own.
    pub fn request_bytes(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", self.port);
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method != "GET" && method != "HEAD" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    /// The bytes of a `/call`, to be sent on a [`Wire`].
    pub fn call_bytes(&self, platform: &str, function: &str, params: &Value) -> Vec<u8> {
        let body = json!({"platform": platform, "function": function, "params": params}).to_string();
        self.request_bytes("POST", "/call", &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// Sends a request and reads the answer. An error is of the connection, never of a status.
    pub fn try_request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut all = headers.to_vec();
        all.push(("Connection", "close"));
        let mut wire = self.try_wire()?;
        // A server that refuses a body may answer and close before it has read it all.
        let sent = wire.send(&self.request_bytes(method, path, &all, body));
        match wire.read_answer(method) {
            Ok(answer) => Ok(answer),
            Err(e) => Err(sent.err().unwrap_or(e)),
        }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_request(method, path, headers, body).unwrap_or_else(|e| panic!("{method} {path}: no answer: {e}"))
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// POST of a JSON document.
    #[track_caller]
    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string())
    }

    /// POST of a text that says it is JSON.
    #[track_caller]
    pub fn post_text(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// POST of a form: text fields, and a file as the field of that name.
    #[track_caller]
    pub fn multipart(&self, path: &str, fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Answer {
        self.request("POST", path, &[("Content-Type", &multipart_type())], &multipart_body(fields, file))
    }

    /// POST of a form with an archive as `schema` to a server that may die meanwhile: the status, if there was an answer.
    pub fn multipart_status(&self, path: &str, fields: &[(&str, &str)], bundle: &[u8]) -> Option<u16> {
        let body = multipart_body(fields, Some(("schema", bundle)));
        self.try_request("POST", path, &[("Content-Type", &multipart_type())], &body).ok().map(|answer| answer.status)
    }

    /// `POST /register`; no tenant: the field is left out.
    #[track_caller]
    pub fn register(&self, platform: &str, tenant: Option<&str>, bundle: &[u8]) -> Answer {
        let mut fields = vec![("platform", platform)];
        fields.extend(tenant.map(|tenant| ("tenant_id", tenant)));
        self.multipart("/register", &fields, Some(("schema", bundle)))
    }

    /// `POST /migrate`, with more fields.
    #[track_caller]
    pub fn migrate(&self, platform: &str, tenant: Option<&str>, bundle: &[u8], more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("platform", platform)];
        fields.extend(tenant.map(|tenant| ("tenant_id", tenant)));
        fields.extend_from_slice(more);
        self.multipart("/migrate", &fields, Some(("schema", bundle)))
    }

    /// `POST /call`.
    #[track_caller]
    pub fn call(&self, platform: &str, tenant: Option<&str>, function: &str, params: Value) -> Answer {
        self.try_call(platform, tenant, function, params)
            .unwrap_or_else(|e| panic!("calling {function} of {platform}: no answer: {e}"))
    }

    /// `POST /call`; an error is of the connection.
    pub fn try_call(&self, platform: &str, tenant: Option<&str>, function: &str, params: Value) -> io::Result<Answer> {
        let mut body = json!({"platform": platform, "function": function, "params": params});
        if let Some(tenant) = tenant {
            body["tenant_id"] = tenant.into();
        }
        self.try_request("POST", "/call", &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }
}

/// A form as the body of a request; [`multipart_type`] is its content type.
pub fn multipart_body(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    if let Some((name, bytes)) = file {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"schema.tar.gz\"\r\n\
             Content-Type: application/gzip\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// The content type of [`multipart_body`].
pub fn multipart_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// An answer of the service.
#[derive(Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// In the order they came, names as they came.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub text: String,
    /// The body as JSON; null if it is none.
    pub json: Value,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The code of an error answer, or an empty text.
    pub fn code(&self) -> &str {
        self.json["error"].as_str().unwrap_or_default()
    }

    /// Asserts a status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "status {status} expected, but: {self}");
        self
    }

    /// Asserts status 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.expect(200)
    }

    /// Asserts an error of that status and code, in the shape that every error has.
    #[track_caller]
    pub fn error(self, status: u16, code: &str) -> Self {
        assert!(self.status == status && self.code() == code, "{status} {code} expected, but: {self}");
        self.shaped()
    }

    /// Asserts an error that is the bundle's or caller's fault, in the shape that every error has.
    #[track_caller]
    pub fn client_error(self) -> Self {
        assert!((400..500).contains(&self.status), "a status 4xx expected, but: {self}");
        self.shaped()
    }

    /// Asserts the shape that every error has (HTTP-API.md "Errors").
    #[track_caller]
    pub fn shaped(self) -> Self {
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/json"), "JSON expected, but: {self}");
        let is_text = |field: &str| self.json[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_text("error") && is_text("message"), "error and message expected, but: {self}");
        assert!(is_text("request_id"), "a request_id expected, but: {self}");
        let in_header = self.header("x-request-id");
        assert_eq!(self.json["request_id"].as_str(), in_header, "header and body differ in the request's id: {self}");
        let nulls = self.json.as_object().is_some_and(|object| object.values().any(Value::is_null));
        assert!(!nulls, "absent fields are left out, but: {self}");
        for field in ["database", "cause", "sqlstate", "detail", "hint", "context", "file"] {
            let value = &self.json[field];
            assert!(value.is_null() || value.is_string(), "{field} is not a text: {self}");
        }
        assert!(self.json["line"].is_null() || self.json["line"].is_u64(), "line is not a number: {self}");
        self
    }

    /// Asserts on a field's value.
    #[track_caller]
    pub fn field(self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        assert_eq!(self.json[name], value, "{name} = {value} expected, but: {self}");
        self
    }

    /// Asserts that the answer speaks of something, wherever in its body, in upper or lower case.
    #[track_caller]
    pub fn says(self, fragment: &str) -> Self {
        assert!(self.text.to_lowercase().contains(&fragment.to_lowercase()), "{fragment:?} expected in: {self}");
        self
    }

    /// A field that is a text.
    #[track_caller]
    pub fn str(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_else(|| panic!("a text {name} expected in: {self}"))
    }

    /// A field that is a whole number.
    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        self.json[name].as_i64().unwrap_or_else(|| panic!("a number {name} expected in: {self}"))
    }

    /// A field that is an array.
    #[track_caller]
    pub fn array(&self, name: &str) -> &[Value] {
        self.json[name].as_array().unwrap_or_else(|| panic!("an array {name} expected in: {self}"))
    }

    /// The rows of a call's success.
    #[track_caller]
    pub fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "rows expected, but: {self}");
        let rows = self.array("rows").to_vec();
        assert_eq!(self.json["row_count"], rows.len(), "row_count is not the number of rows: {self}");
        rows
    }

    /// The one row of a call's success.
    #[track_caller]
    pub fn row(&self) -> Value {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "one row expected, but: {self}");
        rows.remove(0)
    }

    /// The one value of the one row of a call's success.
    #[track_caller]
    pub fn value(&self) -> Value {
        let row = self.row();
        let columns = row.as_object().unwrap_or_else(|| panic!("a row is an object, but: {self}"));
        assert_eq!(columns.len(), 1, "one column expected, but: {self}");
        columns.values().next().cloned().unwrap_or_default()
    }

    /// As [`Answer::value`], but the text it was sent as: all digits of a number.
    #[track_caller]
    pub fn raw_value(&self) -> String {
        self.value();
        crate::json::raw_rows(&self.text)[0].values().next().cloned().unwrap_or_default()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "HTTP {}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        let end = self.text.char_indices().nth(4_000).map_or(self.text.len(), |(at, _)| at);
        write!(f, "\n{}", &self.text[..end])?;
        if end < self.text.len() { write!(f, "… ({} bytes in all)", self.text.len()) } else { Ok(()) }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
