//! Certificates made by the openssl program, and a client that speaks TLS by it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use acceptance::{Cluster, server};

/// A folder of the server's user for certificates; gone with its owner.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let dir = server::base_dir().join(format!("tls-{name}"));
        server::make_dir(&dir);
        Folder(dir)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A certificate for 127.0.0.1 in the name of `subject` and its key: `<name>.crt` and `<name>.key`, signed by itself.
    pub fn make(&self, name: &str, subject: &str) {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={subject} \
             -addext subjectAltName=IP:127.0.0.1 -keyout {name}.key -out {name}.crt"
        ));
    }

    /// The same for a client, signed by another certificate.
    pub fn make_client(&self, name: &str, authority: &str) {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} \
             -addext extendedKeyUsage=clientAuth -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -days 2 -CA {authority}.crt -CAkey {authority}.key -CAcreateserial -copy_extensions copy -in {name}.csr -out {name}.crt"
        ));
    }

    /// Runs openssl in the folder, as the server's user, so that its files belong to it; keys it makes for their owner only.
    pub fn openssl(&self, arguments: &str) -> Output {
        let mut openssl = server::command("openssl", &self.0);
        openssl.args(arguments.split_whitespace());
        server::run(openssl)
    }

    /// Another file in the place of one, at once.
    pub fn replace(&self, old: &str, new: &str) {
        let made = self.path("made");
        std::fs::copy(self.path(new), &made).expect("copied");
        let mut own = server::command("sh", &self.0);
        // Of the server's user and with the old one's rights.
        own.arg("-c").arg(format!("cat made > made.own && chmod 600 made.own && mv made.own {old}"));
        std::fs::set_permissions(&made, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("its rights");
        server::run(own);
        std::fs::remove_file(&made).expect("removed");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// curl to a path of the cluster; what it wrote, and its exit code.
pub fn curl(cluster: &Cluster, path: &str, options: &[&str]) -> (String, i32) {
    let url = format!("https://127.0.0.1:{}{path}", cluster.port());
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20"])
        .args(options)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .expect("curl");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
}

/// The subject of the certificate that new connections get.
pub fn subject(cluster: &Cluster) -> String {
    let text = s_client(cluster, &[]).0;
    let line = text.lines().find(|line| line.trim_start().starts_with("subject="));
    line.unwrap_or("none").trim().replace(' ', "")
}

/// `openssl s_client` that says nothing; what it wrote, and whether it was content.
pub fn s_client(cluster: &Cluster, options: &[&str]) -> (String, bool) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", cluster.port())])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

/// A connection that stays.
pub struct Session {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    pub fn open(cluster: &Cluster) -> Session {
        let mut process = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_quiet", "-connect", &format!("127.0.0.1:{}", cluster.port())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let (input, output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        Session { process, input, output: BufReader::new(output) }
    }

    /// Sends a request and reads the answer's status and body.
    pub fn ask(&mut self, request: &[u8]) -> (u16, String) {
        self.input.write_all(request).expect("openssl reads");
        self.input.flush().expect("openssl reads");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.output.read_line(&mut head).expect("text") > 0, "the connection was closed after: {head}");
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).expect("the body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A cluster that serves TLS with a certificate in the folder.
pub fn cluster(folder: &Folder, more: &[(&str, &str)]) -> Cluster {
    folder.make("server", "first");
    start(folder, more)
}

/// The same with the files as they are; it is not waited for.
pub fn start(folder: &Folder, more: &[(&str, &str)]) -> Cluster {
    let mut builder = Cluster::builder()
        .setting("stonescriptdb.tls", "on")
        .setting("stonescriptdb.tls_cert_file", &folder.path("server.crt"))
        .setting("stonescriptdb.tls_key_file", &folder.path("server.key"))
        .without_wait();
    for (name, value) in more {
        builder = builder.setting(&format!("stonescriptdb.{name}"), value);
    }
    builder.start()
}

/// Waits until HTTPS is answered.
pub fn wait_served(cluster: &Cluster) {
    acceptance::eventually("HTTPS", || {
        let (text, code) = curl(cluster, "/health", &["-k"]);
        acceptance::wait::check(code == 0 && text.contains("healthy"), text)
    });
}

/// Whether a file exists, for messages.
pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
