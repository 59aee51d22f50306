//! What README.md and docs/walkthrough.md show is what happens: their commands are run in order, and the answers compared with those shown.
//!
//! Commands are blocks that begin with a program's name; the block after one, if it is no commands, is what it prints, or a part of it.
//! `…` stands for anything, white space and the ruler lines of tables do not count, nor does how long something took. A block behind the
//! comment `<!-- not run -->` is left out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use acceptance::{ADMIN_TOKEN, Cluster, server};

/// What commands begin with.
const PROGRAMS: &[&str] = &["cat", "cp", "curl", "mkdir", "psql", "sed", "tar"];
const NOT_RUN: &str = "<!-- not run -->";

/// A block of code.
#[derive(Debug)]
struct Block {
    /// Of its first line, from 1 on.
    line: usize,
    text: String,
    is_run: bool,
}

impl Block {
    fn is_commands(&self) -> bool {
        self.text.split_whitespace().next().is_some_and(|word| PROGRAMS.contains(&word))
    }
}

/// The blocks of a Markdown text: fenced ones, and those that are indented by four spaces.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut fenced, mut open, mut is_run) = (false, false, true);
    for (number, line) in text.lines().enumerate() {
        let fence = line.starts_with("```");
        let inside = if fenced { (!fence).then_some(line) } else { line.strip_prefix("    ") };
        if fence {
            fenced = !fenced;
            open = false;
        } else if let Some(inside) = inside {
            if !open {
                blocks.push(Block { line: number + 1, text: String::new(), is_run });
                (open, is_run) = (true, true);
            }
            let block = blocks.last_mut().expect("a block is open");
            block.text.push_str(inside);
            block.text.push('\n');
        } else if line.trim().is_empty() && open {
            // An indented block goes on behind an empty line.
            blocks.last_mut().expect("a block is open").text.push('\n');
        } else {
            open = false;
            is_run = is_run && line.trim() != NOT_RUN;
            if !line.trim().is_empty() && line.trim() != NOT_RUN {
                is_run = true;
            }
        }
    }
    // An answer stands behind an empty line in the same block of an indented text.
    blocks.into_iter().flat_map(parts).collect()
}

/// An indented block apart at its empty lines where commands and answers take turns.
fn parts(block: Block) -> Vec<Block> {
    let mut parts: Vec<Block> = Vec::new();
    let mut here_document: Option<String> = None;
    let mut after_empty = true;
    for (number, line) in block.text.lines().enumerate() {
        let first = line.split_whitespace().next().unwrap_or_default();
        let begins = here_document.is_none()
            && after_empty
            && !line.is_empty()
            && (PROGRAMS.contains(&first) != parts.last().is_some_and(Block::is_commands));
        if begins || parts.is_empty() {
            parts.push(Block { line: block.line + number, text: String::new(), is_run: block.is_run });
        }
        if let Some(part) = parts.last_mut() {
            part.text.push_str(line);
            part.text.push('\n');
        }
        match &here_document {
            Some(end) if line == end => here_document = None,
            None => here_document = line.split_once("<<'").map(|(_, rest)| rest.trim_end_matches('\'').to_owned()),
            Some(_) => {}
        }
        after_empty = line.is_empty();
    }
    parts
}

/// A text without what does not count.
fn essence(text: &str) -> String {
    let is_ruler = |line: &&str| !line.trim().is_empty() && line.chars().all(|letter| "-+| ".contains(letter));
    let squeezed: String = text
        .lines()
        .filter(|line| !is_ruler(line))
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    let mut pieces = squeezed.split("\"execution_time_ms\":");
    let mut essence = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        essence.push_str("\"execution_time_ms\":");
        essence.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    essence
}

/// The first piece of what is shown that is not printed, in its order.
fn missing(shown: &str, printed: &str) -> Option<String> {
    let (shown, printed) = (essence(shown), essence(printed));
    let mut rest = printed.as_str();
    for piece in shown.split('…').filter(|piece| !piece.is_empty()) {
        match rest.find(piece) {
            Some(place) => rest = &rest[place + piece.len()..],
            None => return Some(piece.to_owned()),
        }
    }
    None
}

struct Reader<'a> {
    cluster: &'a Cluster,
    dir: PathBuf,
}

impl Reader<'_> {
    /// What commands print, errors too, typed into a shell.
    fn run(&self, commands: &str) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash")
            .arg("-s")
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", server::bin_dir().display()))
            .env("PGHOST", self.cluster.socket_dir())
            .env("PGPORT", "5432")
            .env("PGUSER", "postgres")
            .env("SSDB_URL", format!("http://127.0.0.1:{}", self.cluster.port()))
            .env("SSDB_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let script = format!("exec 2>&1\n{commands}");
        shell.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("bash reads");
        let output = shell.wait_with_output().expect("bash ends");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn read(&self, document: &Path) {
        let text = std::fs::read_to_string(document).expect("the document");
        let mut printed: Option<String> = None;
        let mut wrong = Vec::new();
        let mut answers = 0;
        for block in blocks(&text).iter().filter(|block| block.is_run) {
            if block.is_commands() {
                printed = Some(self.run(&block.text));
            } else if let Some(printed) = printed.take() {
                answers += 1;
                if let Some(piece) = missing(&block.text, &printed) {
                    wrong.push(format!("line {}: not printed: {piece}\nprinted: {printed}", block.line));
                }
            }
        }
        assert!(answers > 5, "{} shows {answers} answers only: the blocks are not recognised", document.display());
        assert!(wrong.is_empty(), "{}:\n{}", document.display(), wrong.join("\n\n"));
    }
}

/// With examples/shop deployed, as `make run` leaves it.
fn assert_true(document: &str) {
    let cluster = Cluster::start();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = std::env::temp_dir().join(format!("ssdb_handbook_{}_{}", std::process::id(), cluster.port()));
    std::fs::create_dir(&dir).expect("a folder to work in");
    let reader = Reader { cluster: &cluster, dir: dir.clone() };
    let shop = format!(
        "tar -C {} -czf shop.tar.gz postgresql && curl -sf $SSDB_URL/register -F platform=shop -F schema=@shop.tar.gz",
        root.join("examples/shop").display()
    );
    let answer = reader.run(&shop);
    assert!(answer.contains("\"ready\""), "{answer}");
    reader.read(&root.join(document));
    std::fs::remove_dir_all(dir).expect("the folder goes");
}

#[test]
fn the_readme_is_true() {
    assert_true("README.md");
}

#[test]
fn the_walkthrough_is_true() {
    assert_true("docs/walkthrough.md");
}

#[test]
fn what_differs_is_noticed() {
    assert_eq!(missing("{\"a\": …}", "{\"a\":1}"), None);
    assert_eq!(missing("{\"a\": 2}", "{\"a\":1}").as_deref(), Some("{\"a\":2}"));
    assert_eq!(missing("x … y", "y x").as_deref(), Some("y"));
    assert_eq!(missing("\"execution_time_ms\": 3}", "\"execution_time_ms\":17}"), None);
    let [first, second] = &blocks("Text\n\n    curl x\n\n    {\"a\": 1}\n\nText\n")[..] else { panic!("two blocks") };
    assert!(first.is_commands() && !second.is_commands() && second.line == 5, "{first:?} {second:?}");
    assert!(blocks("<!-- not run -->\n\n    curl x\n").iter().all(|block| !block.is_run));
}
