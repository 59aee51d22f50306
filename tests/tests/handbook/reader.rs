//! Somebody who reads a document from its beginning and types in what it shows: into one shell, one psql, and as HTTP requests.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use acceptance::{ADMIN_TOKEN, Cluster, server};

use super::compare::compare;
use super::markdown::{Block, Kind};
use super::request::{Answer, Exchange, exchanges};

/// The end of what a block prints.
const END: &str = "=== that was the block ===";

/// A program that reads one block after the other, and keeps its variables between them.
struct Session {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(mut command: Command) -> Session {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        Session { process, input, output }
    }

    /// What is printed until the end is.
    fn type_in(&mut self, text: &str) -> String {
        self.input.write_all(text.as_bytes()).and_then(|()| self.input.flush()).expect("the program reads");
        let mut printed = String::new();
        let mut line = Vec::new();
        while self.output.read_until(b'\n', &mut line).expect("the program prints") > 0 {
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            if let Some((last, _)) = text.split_once(END) {
                return printed + last;
            }
            printed.push_str(&text);
        }
        panic!("the program ended after it had printed:\n{printed}")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Reader {
    dir: PathBuf,
    shell: Session,
    psql: Session,
    /// What went wrong, with the line.
    wrong: Vec<String>,
    /// Blocks whose answers were compared, and those that ran without one being shown.
    pub compared: usize,
    pub ran: usize,
}

impl Reader {
    /// In a folder of its own that has `examples/` of the repository in it, as a checkout has.
    pub fn new(cluster: &Cluster) -> Reader {
        let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).expect("the repository");
        let dir = std::env::temp_dir().join(format!("ssdb_handbook_{}_{}", std::process::id(), cluster.port()));
        fs::create_dir(&dir).expect("a folder to work in");
        std::os::unix::fs::symlink(root.join("examples"), dir.join("examples")).expect("a link");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{path}", server::bin_dir().display(), super::tool::folder().display());
        let command = |program: &str| {
            // What goes to both outputs comes through one pipe, in its order.
            let mut command = Command::new("bash");
            command
                .args(["-c", &format!("exec 2>&1 {program}")])
                .current_dir(&dir)
                .env("PATH", &path)
                .env("PGHOST", cluster.socket_dir())
                .env("PGPORT", "5432")
                .env("PGUSER", "postgres")
                .env("PGDATA", cluster.data_dir())
                .env("SSDB_URL", format!("http://127.0.0.1:{}", cluster.port()))
                .env("SSDB_ADMIN_TOKEN", ADMIN_TOKEN)
                .env("LC_ALL", "C.UTF-8")
                .env_remove("SSDB_TOKEN")
                .env_remove("SSDB_PLATFORM");
            command
        };
        let shell = Session::start(command("bash -s"));
        let psql = Session::start(command("psql -X -q -d postgres"));
        Reader { dir, shell, psql, wrong: Vec::new(), compared: 0, ran: 0 }
    }

    /// What commands print, and the status of the last of them.
    fn commands(&mut self, commands: &str) -> (String, String) {
        fs::write(self.dir.join(".commands"), commands).expect("a file");
        let printed = self.shell.type_in(&format!("set -a; . ./.commands </dev/null; echo; echo \"$?{END}\"\n"));
        let (printed, status) = printed.rsplit_once('\n').unwrap_or(("", &printed));
        (printed.to_owned(), status.to_owned())
    }

    /// What commands print that have to go well.
    pub fn prepare(&mut self, line: usize, commands: &str) {
        let (printed, status) = self.commands(commands);
        if status != "0" || printed.contains("\"error\":") || printed.contains("ERROR:") {
            self.wrong.push(format!("{line}: ends with {status} and prints\n{printed}"));
        }
    }

    fn statements(&mut self, statements: &str) -> String {
        self.psql.type_in(&format!("{statements}\n\\echo {END}\n"))
    }

    /// Reads all blocks; what is not as it is shown is in the result, each with its line.
    pub fn read(&mut self, blocks: &[Block]) -> Vec<String> {
        let mut printed: Option<(usize, String)> = None;
        for block in blocks {
            if block.kind == Kind::Answer {
                match printed.take() {
                    Some((_, printed)) => self.compare(block.line, &block.text, &printed),
                    None => {
                        self.wrong.push(format!("{}: shown as an answer, but nothing before it is run", block.line))
                    }
                }
                continue;
            }
            if let Some((line, printed)) = printed.take() {
                self.without_answer(line, &printed);
            }
            match &block.kind {
                Kind::Commands => printed = Some((block.line, self.commands(&block.text).0)),
                Kind::Statements => printed = Some((block.line, self.statements(&block.text))),
                Kind::Hidden => self.prepare(block.line, &block.text),
                Kind::Requests => self.requests(block),
                Kind::Settings => self.settings(block),
                Kind::File(path) => {
                    let path = self.dir.join(path);
                    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
                    fs::write(path, &block.text).expect("the file");
                }
                Kind::Start(name) => {
                    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/handbook/start/{name}.sh"));
                    self.prepare(block.line, &fs::read_to_string(script).expect("a start of that name"));
                }
                Kind::Picture | Kind::NotRun(_) | Kind::Answer => {}
            }
        }
        if let Some((line, printed)) = printed.take() {
            self.without_answer(line, &printed);
        }
        std::mem::take(&mut self.wrong)
    }

    /// Nobody says what is printed: then no error is.
    fn without_answer(&mut self, line: usize, printed: &str) {
        self.ran += 1;
        let errors = ["\"error\":\"", "ERROR:", "command not found", "FATAL:"];
        if errors.iter().any(|error| printed.contains(error)) {
            self.wrong.push(format!("{line}: an error that is not shown:\n{printed}"));
        }
    }

    fn compare(&mut self, line: usize, shown: &str, printed: &str) {
        self.compared += 1;
        match compare(shown, printed) {
            Ok(names) => {
                for (name, value) in names {
                    self.prepare(line, &format!("{name}='{}'", value.replace('\'', "")));
                }
            }
            Err(missing) => self.wrong.push(format!("{line}: not as shown: {missing}\nprinted: {printed}")),
        }
    }

    fn requests(&mut self, block: &Block) {
        for exchange in exchanges(&block.text) {
            let (status, headers, body) = self.send(&exchange);
            let Some(Answer { status: shown, headers: shown_headers, body: shown_body }) = exchange.answer else {
                self.without_answer(block.line, &body);
                continue;
            };
            let what = format!("{} {}", exchange.method, exchange.target);
            if status != shown {
                self.wrong.push(format!("{}: {what}: {shown} is shown, but it is {status}: {body}", block.line));
                continue;
            }
            for header in shown_headers {
                let (name, value) = header.split_once(": ").unwrap_or((&header, ""));
                let found = headers.iter().find_map(|header| {
                    header
                        .split_once(": ")
                        .filter(|(other, _)| other.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value)
                });
                self.compare(block.line, value, found.unwrap_or("(no such header)"));
            }
            self.compare(block.line, &shown_body, &body);
        }
    }

    /// By curl, as it would be typed in: variables of the shell have their values.
    fn send(&mut self, exchange: &Exchange) -> (u16, Vec<String>, String) {
        let target = self.expanded(&exchange.target);
        let mut command = format!("curl -sSi --max-time 60 \"$SSDB_URL\"{}", quoted(&target));
        command += &if exchange.method == "HEAD" { " -I".to_owned() } else { format!(" -X {}", exchange.method) };
        for header in &exchange.headers {
            command += &format!(" -H {}", quoted(&self.expanded(header)));
        }
        let body = self.expanded(&exchange.body);
        if exchange.is_form() {
            for field in body.lines().filter(|line| !line.is_empty()) {
                command += &format!(" -F {}", quoted(field));
            }
        } else if !body.is_empty() {
            let is_typed = exchange.headers.iter().any(|header| header.starts_with("Content-Type:"));
            command += if is_typed { "" } else { " -H 'Content-Type: application/json'" };
            command += &format!(" --data-binary {}", quoted(&body));
        }
        let answer = self.commands(&command).0.replace('\r', "");
        let (head, body) = answer.split_once("\n\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = if status == 0 { head } else { body };
        (status, head.lines().skip(1).map(str::to_owned).collect(), body.to_owned())
    }

    /// A text with what variables of the shell say in their places; what names none stays.
    fn expanded(&mut self, text: &str) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, behind) = after.split_at(length);
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic());
            let value = is_name
                .then(|| self.commands(&format!("printf %s \"${{{name}-}}\"")).0)
                .filter(|value| !value.is_empty());
            match value {
                Some(value) => expanded.push_str(value.trim_end_matches('\n')),
                None => expanded.push_str(&format!("${name}")),
            }
            rest = behind;
        }
        expanded + rest
    }

    /// The server takes them: there are settings of these names, and they may have these values.
    fn settings(&mut self, block: &Block) {
        for line in block.text.lines() {
            let setting = line.split_once('#').map_or(line, |(setting, _)| setting).trim();
            let Some((name, value)) = setting.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            let printed = self.statements(&format!("ALTER SYSTEM SET {name} = {value};\nALTER SYSTEM RESET {name};"));
            self.without_answer(block.line, &printed);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
