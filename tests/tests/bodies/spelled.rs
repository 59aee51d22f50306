//! What looks like the same text in another spelling, and is not.

use acceptance::{Files, Platform, shared};
use serde_json::json;

use crate::migrate;

fn files(literal: &str) -> Files {
    let body = format!("SELECT {literal}");
    Files::new().file("tables/t.pssql", "CREATE TABLE t (id int PRIMARY KEY);\n").file(
        "functions/letter.pssql",
        format!("CREATE FUNCTION letter() RETURNS text LANGUAGE sql AS $f$ {body} $f$;\n"),
    )
}

#[test]
fn unicode_escapes_are_not_their_own_text() {
    let cluster = shared();
    let plain = r"'d\0061ta'";
    for (literal, value) in [(r"U&'d\0061ta'", "data"), (r"U&'d!0061ta' UESCAPE '!'", "data"), (r"E'd\x61ta'", "data")]
    {
        // By a new body alone, and with all of the catalog compared.
        for table in ["", "CREATE TABLE other (id int PRIMARY KEY);\n"] {
            let platform = Platform::register(&cluster, "spelled", &files(plain));
            assert_eq!(platform.call("letter", json!([])).value(), r"d\0061ta");
            let more = if table.is_empty() { files(literal) } else { files(literal).file("tables/other.pssql", table) };
            migrate(&cluster, &platform, "main", &more, &[]).ok();
            assert_eq!(platform.call("letter", json!([])).value(), value, "{literal}");
            migrate(&cluster, &platform, "main", &files(plain), &[("force", "true")]).ok();
            assert_eq!(platform.call("letter", json!([])).value(), r"d\0061ta", "{literal}");
        }
    }
}
