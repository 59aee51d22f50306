//! One connection, byte by byte: for requests that no client library would send, and for several on one connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::http::Answer;

/// A TCP connection to the service.
pub struct Wire {
    stream: TcpStream,
    /// Received and not yet part of an answer.
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects; reading and writing give up after `timeout`.
    pub fn connect(address: IpAddr, port: u16, timeout: Duration) -> io::Result<Wire> {
        let address = SocketAddr::from((address, port));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, buffer: Vec::new() })
    }

    /// Another limit for reading.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("not zero");
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads to the end of the connection or the limit of time; what came. An error of the connection ends it too.
    pub fn read_rest(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffer);
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = retry_interrupted(|| self.stream.read(&mut chunk)) {
            all.extend_from_slice(&chunk[..n]);
        }
        all
    }

    /// Reads so many bytes more, which stay for the next answer.
    pub fn read_ahead(&mut self, length: usize) -> io::Result<()> {
        let wanted = self.buffer.len() + length;
        while self.buffer.len() < wanted {
            self.fill()?;
        }
        Ok(())
    }

    /// Whether the server has closed the connection: an end or an error is there to be read within the limit of time.
    pub fn is_closed(&mut self) -> bool {
        match self.fill() {
            Ok(()) => false,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Reads one answer, to a request of this method. An interim one (100) is an answer too.
    ///
    /// # Errors
    /// Of the connection; `UnexpectedEof` when it ends before an answer is complete; `InvalidData` when it is not HTTP.
    pub fn read_answer(&mut self, method: &str) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let (status, headers) = parse_head(&String::from_utf8_lossy(&head))?;
        let header = |name: &str| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());

        let body = if method == "HEAD" || (100..200).contains(&status) || status == 204 || status == 304 {
            Vec::new()
        } else if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            self.read_chunks()?
        } else if let Some(length) = header("content-length") {
            let length = length.parse().map_err(|_| invalid("Content-Length"))?;
            self.take(length)?
        } else {
            self.read_rest()
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Answer { status, headers, text, json })
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid("the size of a chunk"))?;
            if size == 0 {
                // Trailers, then an empty line.
                while !self.take_line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            self.take_line()?;
        }
    }

    fn take_line(&mut self) -> io::Result<String> {
        let at = loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                break at;
            }
            self.fill()?;
        };
        let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
        Ok(String::from_utf8_lossy(&line[..at]).into_owned())
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        match retry_interrupted(|| self.stream.read(&mut chunk))? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}

/// A signal that interrupts a read is not the end of it.
fn retry_interrupted(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn parse_head(head: &str) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| invalid(status_line))?;
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| invalid(head))?;
    Ok((status, headers))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not an HTTP answer: {what}"))
}
