//! Server-sent events, read from the connection as they come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use acceptance::Cluster;
use serde_json::Value;

/// One event: its name and its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

/// An open stream of events.
pub struct Events {
    reader: Box<dyn BufRead>,
    /// The head of the answer, as it came.
    pub head: String,
}

impl Events {
    /// `GET /deployments/{id}/events`, and the head of the answer.
    #[track_caller]
    pub fn open(cluster: &Cluster, id: &str, headers: &[(&str, &str)]) -> Events {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.port())).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        let request = cluster.http().request_bytes("GET", &format!("/deployments/{id}/events"), headers, b"");
        stream.write_all(&request).expect("it reads");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        loop {
            let mut line = String::new();
            let read = reader.read_line(&mut line).unwrap_or_else(|e| panic!("no answer: {e}; so far {head:?}"));
            assert!(read > 0, "the answer ends in its head: {head:?}");
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let reader: Box<dyn BufRead> =
            if chunked { Box::new(BufReader::new(Chunks { reader, left: 0, over: false })) } else { Box::new(reader) };
        Events { reader, head }
    }

    /// The next event, or none if the stream has ended. Comments and fields that are no event's are passed over.
    #[track_caller]
    pub fn next(&mut self) -> Option<Event> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).unwrap_or_else(|e| panic!("the stream broke: {e}"));
            let line = line.trim_end_matches(['\r', '\n']);
            if read == 0 {
                assert!(name.is_empty() && data.is_empty(), "the stream ended within an event: {name:?} {data:?}");
                return None;
            }
            if line.is_empty() && (!name.is_empty() || !data.is_empty()) {
                let json = serde_json::from_str(&data).unwrap_or_else(|e| panic!("{name}: {e}: {data:?}"));
                return Some(Event { name, data: json });
            }
            match line.split_once(':') {
                Some(("event", value)) => name = value.trim_start().to_owned(),
                Some(("data", value)) => data.push_str(value.strip_prefix(' ').unwrap_or(value)),
                _ => {}
            }
        }
    }

    /// All events to the end of the stream.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// The bytes of a body that comes in chunks, as they come.
struct Chunks<R> {
    reader: R,
    /// Bytes of the present chunk that are not read yet.
    left: usize,
    over: bool,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.over {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16);
            self.left = size.map_err(|_| std::io::Error::other(format!("the size of a chunk: {line:?}")))?;
            self.over = self.left == 0;
        }
        if self.over {
            return Ok(0);
        }
        let most = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(std::io::Error::other("the connection ended within a chunk"));
        }
        self.left -= read;
        if self.left == 0 {
            self.reader.read_line(&mut String::new())?;
        }
        Ok(read)
    }
}
