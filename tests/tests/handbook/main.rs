//! What the documents show is what happens: their commands, statements and requests are run in order, and the answers compared with those
//! shown. `tests/README.md` (Documents) has how a document is written for that. Each document has a test of its own and begins on a server of its
//! own, with examples/shop deployed, as `make run` leaves it.

mod compare;
mod coverage;
mod json;
mod markdown;
mod reader;
mod request;
#[path = "../command_line/tool.rs"]
#[allow(dead_code, reason = "the command line's own suite uses the rest")]
mod tool;

use std::path::{Path, PathBuf};

use acceptance::Cluster;

use markdown::{Block, Kind, blocks};
use reader::Reader;

/// As `make run` does.
const SHOP: &str = "tar -C examples/shop -czf shop.tar.gz postgresql && curl -sf \"$SSDB_URL/register\" -F platform=shop -F schema=@shop.tar.gz";

/// A file of the repository.
fn place(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)
}

fn text_of(document: &str) -> String {
    std::fs::read_to_string(place(document)).unwrap_or_else(|e| panic!("{document}: {e}"))
}

/// Reads a document; `least` is how many answers are compared at least, lest none be recognised as one.
#[track_caller]
fn assert_true(document: &str, least: usize) {
    let blocks = blocks(&text_of(document));
    let cluster = Cluster::start();
    let mut reader = Reader::new(&cluster);
    reader.prepare(0, SHOP);
    let wrong = reader.read(&blocks);
    let wrong: Vec<String> = wrong.iter().map(|wrong| format!("{document}:{wrong}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!("{document}: {} answers compared, {} blocks run without one", reader.compared, reader.ran);
    assert!(reader.compared >= least, "{document} shows {} answers only", reader.compared);
}

/// A test for each document that has something to run.
macro_rules! documents {
    ($($test:ident: $document:literal, $least:literal;)*) => {
        /// The documents that are read.
        const DOCUMENTS: &[&str] = &[$($document),*];

        $(#[test]
        fn $test() {
            assert_true($document, $least);
        })*
    };
}

documents! {
    the_readme_is_true: "README.md", 8;
    the_walkthrough_is_true: "docs/walkthrough.md", 8;
    bundles_is_true: "docs/bundles.md", 5;
    calling_is_true: "docs/calling.md", 15;
    deploying_is_true: "docs/deploying.md", 12;
    fleets_is_true: "docs/fleets.md", 8;
    http_is_true: "docs/http.md", 70;
    installing_is_true: "docs/installing.md", 3;
    observing_is_true: "docs/observing.md", 1;
    operating_is_true: "docs/operating.md", 2;
    settings_is_true: "docs/settings.md", 0;
    tenants_is_true: "docs/tenants.md", 7;
    upgrading_is_true: "docs/upgrading.md", 2;
}

/// The table of calls in examples/shop/README.md, in its order: function, parameters, rows.
#[test]
fn the_shops_readme_is_true() {
    let document = "examples/shop/README.md";
    let text = text_of(document);
    let is_call = |(_, line): &(usize, &str)| {
        line.starts_with("| `") && line.matches(" | ").count() == 2 && line.contains("` | `")
    };
    let blocks: Vec<Block> =
        (1..).zip(text.lines()).filter(is_call).filter_map(|(line, row)| call_of(line, row)).collect();
    assert!(blocks.len() > 8, "the calls are not found: {blocks:?}");
    let cluster = Cluster::start();
    let mut reader = Reader::new(&cluster);
    reader.prepare(0, SHOP);
    let wrong = reader.read(&blocks);
    assert!(wrong.is_empty(), "{document}:{}", wrong.join("\n\n"));
}

/// A row of the table as a request and its answer.
fn call_of(line: usize, row: &str) -> Option<Block> {
    let mut cells = row.trim_matches(['|', ' ']).split(" | ");
    let function = cells.next()?.split('`').nth(1)?;
    let (params, rows) = (cells.next()?.trim_matches('`'), cells.next()?.trim_matches('`'));
    let request = format!("{{\"platform\":\"shop\",\"function\":\"{function}\",\"params\":{params}}}");
    let text = format!("POST /call\n\n{request}\n\n200 OK\n{{\"rows\":{rows},…}}\n");
    Some(Block { line, kind: Kind::Requests, text })
}
