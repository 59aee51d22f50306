//! Slowloris: thousands of connections that send their heads a byte at a time.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use acceptance::Cluster;
use acceptance::server::raise_open_files;

use crate::number;
use crate::victim::Victim;

const HEAD: &[u8] =
    b"POST /call HTTP/1.1\r\nHost: victim\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Slow {
    stream: TcpStream,
    sent: usize,
}

fn connect(port: u16) -> Option<Slow> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(Slow { stream, sent: 0 })
}

impl Slow {
    /// Sends a byte; false if the server has closed the connection.
    fn go_on(&mut self) -> bool {
        let byte = HEAD.get(self.sent).copied().unwrap_or(b'a');
        self.sent += 1;
        match (&self.stream).write(&[byte]) {
            Ok(written) => written == 1,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn slowloris() {
    let limit = raise_open_files() as usize;
    let count = number("SSDB_SLOWLORIS", 1_000, 5_000).min(limit / 3);
    let seconds = number("SSDB_SLOWLORIS_SECONDS", 6, 30);
    // All from one address, so without its limit; cut off they are by the limit of time, and come again.
    let builder = Cluster::builder()
        .setting("stonescriptdb.max_http_connections_per_address", "0")
        .setting("stonescriptdb.header_timeout", if seconds > 10 { "10s" } else { "2s" });
    let victim = Victim::new(builder);
    let mut cut_off = 0;
    let seen = victim.attack(&format!("{count} slow connections"), || {
        let start = Instant::now();
        let mut slow: Vec<Slow> = Vec::new();
        while start.elapsed() < Duration::from_secs(seconds as u64) {
            let turn = Instant::now();
            let before = slow.len();
            slow.retain_mut(Slow::go_on);
            cut_off += before - slow.len();
            slow.extend((slow.len()..count).map_while(|_| connect(victim.cluster.port())));
            std::thread::sleep(Duration::from_millis(250).saturating_sub(turn.elapsed()));
        }
        assert!(slow.len() > count * 9 / 10, "{} connections", slow.len());
    });
    eprintln!("{cut_off} were cut off");
    assert!(cut_off >= count, "{cut_off} were cut off");
    assert!(seen.worker_kb[1] < seen.worker_kb[0] + 24 * count as u64 + 50_000, "{seen:?}");
    victim.check();
}
