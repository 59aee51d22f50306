//! Requests with damage, and a client that sends them on connections that stay: the answers it looks through only.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use acceptance::generator::Rng;

/// A good request in its parts, so that damage can go past the framing.
#[derive(Clone)]
pub struct Seed {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Words that parsers stumble over.
const WORDS: [&[u8]; 30] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"%00",
    b"%ff",
    b"../",
    b"//",
    b"?",
    b"#",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"[",
    b"{",
    b"]",
    b"}",
    b",",
    b":",
    b"null",
    b"-0",
    b"1e999",
    b"99999999999999999999",
    b"\xff\xfe",
    b"\xc3\xa4",
    b"'",
    b"$$",
    b";",
    b"--",
    b"\t",
];

const HEADERS: [&str; 12] = [
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Content-Length: 0",
    "Content-Length: 18446744073709551616",
    "Content-Length: -1",
    "Expect: 100-continue",
    "Connection: close, upgrade",
    "Upgrade: h2c",
    "Host:",
    "Accept: application/x-ndjson",
    "X-Forwarded-For: 1.2.3.4, ::1, nobody",
    "X-Request-Id: \u{e4}",
];

/// Damages bytes in one place, seldom in up to four.
pub fn damage(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..*random.pick(&[1, 1, 1, 2, 4]) {
        if bytes.is_empty() {
            bytes.extend_from_slice(random.pick::<&[u8]>(&WORDS));
            continue;
        }
        let at = random.below(bytes.len());
        let end = bytes.len().min(at + 1 + random.below(40));
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.bits() as u8,
            2 => bytes.insert(at, random.bits() as u8),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            5 => bytes[at..end].fill(*random.pick(b"\0\xff 0[{a")),
            6 => {
                let word = random.pick(&["[", "{\"a\":", "\"", "x", "(", "%41", "-"]).repeat(random.below(3000));
                bytes.splice(at..at, word.into_bytes());
            }
            _ => {
                let word = random.pick::<&[u8]>(&WORDS);
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
}

impl Seed {
    /// The request as bytes; its length is right.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: victim\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if self.method == "POST" {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The request with damage below the framing: the server reads it to its end, unless it refuses its head.
    pub fn damaged_within(&self, random: &mut Rng) -> Vec<u8> {
        let mut seed = self.clone();
        if !seed.body.is_empty() && random.below(4) > 0 {
            damage(random, &mut seed.body);
            return seed.bytes();
        }
        let mut text = std::mem::take(if seed.headers.is_empty() || random.below(2) == 0 {
            &mut seed.path
        } else {
            let at = random.below(seed.headers.len());
            &mut seed.headers[at].1
        })
        .into_bytes();
        damage(random, &mut text);
        // So that it stays one line: other damage is for all of the bytes.
        text.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        // Marks the place, for the text need not be UTF-8.
        const PLACE: &str = "\u{1}place\u{1}";
        let emptied = if seed.path.is_empty() {
            Some(&mut seed.path)
        } else {
            seed.headers.iter_mut().map(|(_, value)| value).find(|value| value.is_empty())
        };
        if let Some(emptied) = emptied {
            emptied.push_str(PLACE);
        }
        let bytes = seed.bytes();
        let at = bytes.windows(PLACE.len()).position(|window| window == PLACE.as_bytes()).unwrap_or(0);
        [&bytes[..at], &text, &bytes[at + PLACE.len()..]].concat()
    }

    /// The request with damage anywhere.
    pub fn damaged(&self, random: &mut Rng) -> Vec<u8> {
        let mut bytes = self.bytes();
        if random.below(3) == 0 {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 2;
            let mut line = random.pick(&HEADERS).as_bytes().to_vec();
            line.extend_from_slice(b"\r\n");
            bytes.splice(end..end, line);
            if random.below(2) == 0 {
                return bytes;
            }
        }
        damage(random, &mut bytes);
        bytes
    }
}

/// What came of requests.
#[derive(Clone, Copy, Default, Debug)]
pub struct Outcome {
    pub sent: usize,
    pub answered: usize,
    pub closed: usize,
    pub of_200: usize,
    pub of_503: usize,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.closed += other.closed;
        self.of_200 += other.of_200;
        self.of_503 += other.of_503;
    }
}

/// One connection after the other; each stays as long as the server lets it.
pub struct Client {
    port: u16,
    /// A header, with the end of its line.
    authorization: String,
    stream: Option<TcpStream>,
    marks: u64,
    pub outcome: Outcome,
}

/// How long an answer may take before the client says that it will send nothing more.
const PATIENCE: Duration = Duration::from_millis(60);
/// And how long the connection may stay after that.
const END: Duration = Duration::from_secs(20);

impl Client {
    pub fn new(port: u16, token: &str) -> Client {
        let authorization = format!("Authorization: Bearer {token}\r\n");
        Client { port, authorization, stream: None, marks: 0, outcome: Outcome::default() }
    }

    /// Sends requests and one more that is known by its mark, and reads until that one is answered or the connection is closed.
    ///
    /// # Panics
    /// When an answer is 5xx but 503, or when the server does neither.
    pub fn send(&mut self, requests: &[Vec<u8>]) {
        self.marks += 1;
        let mark = format!("mark-{}-{}", self.port, self.marks);
        // An error that executors too give, on connections that they serve.
        let body = r#"{"platform":"victim","function":"nope"}"#;
        let last = format!(
            "POST /call HTTP/1.1\r\nHost: victim\r\n{}X-Request-Id: {mark}\r\nContent-Length: {}\r\n\r\n{body}",
            self.authorization,
            body.len()
        );
        let bytes = [&requests.concat(), last.as_bytes()].concat();
        self.outcome.sent += requests.len();
        let mut stream = self.stream.take().unwrap_or_else(|| self.connect());
        let _ = stream.write_all(&bytes);
        let end = format!("\"request_id\":\"{mark}\"");
        let (mut received, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
        let (start, mut said_all, mut stays) = (Instant::now(), false, false);
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    let from = received.len().saturating_sub(end.len());
                    received.extend_from_slice(&chunk[..read]);
                    if received.ends_with(b"}") && contains(&received[from..], end.as_bytes()) {
                        stays = true;
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if !said_all {
                        said_all = true;
                        let _ = stream.shutdown(Shutdown::Write);
                    }
                    assert!(start.elapsed() < END, "no end of a connection after {}", shown(&bytes));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.note(&received, stays, &bytes);
        if stays && !said_all {
            self.stream = Some(stream);
        }
    }

    fn connect(&self) -> TcpStream {
        let start = Instant::now();
        loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let _ = stream.set_nodelay(true);
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
                return stream;
            }
            assert!(start.elapsed() < END, "the server takes no connections");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn note(&mut self, received: &[u8], stays: bool, sent: &[u8]) {
        const LINE: &[u8] = b"HTTP/1.1 ";
        let mut at = 0;
        let mut answers = 0;
        while let Some(found) = position(&received[at..], LINE) {
            at += found + LINE.len();
            let Some(status) = received.get(at..at + 3) else { break };
            answers += 1;
            match status {
                b"200" => self.outcome.of_200 += 1,
                b"503" => self.outcome.of_503 += 1,
                _ => assert!(!status.starts_with(b"5"), "{} after {}", shown(&received[at..]), shown(sent)),
            }
        }
        self.outcome.answered += answers - usize::from(stays && answers > 0);
        self.outcome.closed += usize::from(!stays);
    }
}

/// The beginning of bytes, for a message.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(3_000)].escape_ascii().to_string()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    position(bytes, wanted).is_some()
}

/// By the first byte, for this is built without optimisation.
fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = bytes[from..].iter().position(|byte| *byte == wanted[0]) {
        if bytes[from + found..].starts_with(wanted) {
            return Some(from + found);
        }
        from += found + 1;
    }
    None
}
