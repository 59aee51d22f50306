//! `pack` and `lint`.

use serde_json::{Value, json};
use stonescriptdb_bundle::Kind;

use crate::args::{Global, Lint, OfTenant, Pack};
use crate::failure::{Exit, Failure, Level, refused, render, text};
use crate::lint::lint as findings;
use crate::source::{Source, summary, write};
use crate::{answer, complain, deploying, show};

pub(crate) fn pack(global: &Global, pack: &Pack) -> Result<Exit, Failure> {
    let source = Source::read(&pack.folder)?;
    write(&source.archive, &pack.output)?;
    let mut about = summary(&source);
    if let Some(about) = about.as_object_mut() {
        about.insert("archive".to_owned(), json!(pack.output.display().to_string()));
        about.insert("warnings".to_owned(), json!(source.bundle.warnings));
    }
    if !global.json {
        for warning in &source.bundle.warnings {
            eprint!("{}", render(Level::Warning, &json!({"message": warning}), None));
        }
    }
    // The archive itself may be what standard output is for.
    if pack.output.as_os_str() == "-" {
        return Ok(Exit::Done);
    }
    answer(global, &about, || {
        let count = |kind: Kind| (source.bundle.of_kind(kind).count(), kind);
        let kinds = Kind::ALL.into_iter().map(count).filter(|(count, _)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(count, kind)| format!("{count} {kind}")).collect();
        let bytes = show::bytes(source.archive.len() as u64);
        format!("{}: {bytes}, {}\nsha256 {}\n", pack.output.display(), kinds.join(", "), source.bundle.sha256)
    });
    Ok(Exit::Done)
}

pub(crate) fn lint(global: &Global, lint: &Lint) -> Result<Exit, Failure> {
    let source = match Source::read(&lint.bundle) {
        Ok(source) => source,
        Err(failure) if failure.exit == Exit::Failed => {
            let mut body = failure.body.clone();
            if let Some(body) = body.as_object_mut() {
                body.insert("level".to_owned(), json!("error"));
            }
            answer(global, &json!({"errors": 1, "warnings": 0, "findings": [body]}), String::new);
            if !global.json {
                complain(global, &failure, None);
            }
            return Ok(Exit::Failed);
        }
        Err(failure) => return Err(failure),
    };
    let found = findings(&source.bundle);
    let mut all: Vec<Value> = found.iter().map(|finding| finding.to_json()).collect();
    if !global.json {
        for finding in &found {
            eprint!("{}", render(finding.level, &finding.body, Some(&source)));
        }
    }
    let mut exit = Exit::Done;
    if lint.server {
        exit = on_server(global, &source, &lint.of, &mut all)?;
    }
    let count = |level: &str| all.iter().filter(|finding| text(finding, "level") == Some(level)).count();
    let (errors, warnings) = (count("error"), count("warning"));
    if exit == Exit::Done && (errors > 0 || lint.deny_warnings && warnings > 0) {
        exit = Exit::Failed;
    }
    answer(global, &json!({"errors": errors, "warnings": warnings, "findings": all}), || {
        format!("{} files: {errors} errors, {warnings} warnings\n", source.bundle.files.len())
    });
    Ok(exit)
}

/// What a dry run says.
fn on_server(global: &Global, source: &Source, of: &OfTenant, all: &mut Vec<Value>) -> Result<Exit, Failure> {
    match deploying::dry_run(global, source, of, &[]) {
        Ok(body) => {
            for warning in body.get("warnings").and_then(Value::as_array).into_iter().flatten() {
                // What the server ignores in the archive has been told already: both read it with the same code.
                if source.bundle.warnings.iter().any(|known| Some(known.as_str()) == warning.as_str()) {
                    continue;
                }
                let body = json!({"message": warning, "level": "warning"});
                if !global.json {
                    eprint!("{}", render(Level::Warning, &body, Some(source)));
                }
                all.push(body);
            }
            let refused = body.get("schema_validation").map(refused).unwrap_or_default();
            for change in &refused {
                let body = json!({"error": "schema_validation_failed", "message": change, "level": "error"});
                if !global.json {
                    eprint!("{}", render(Level::Error, &body, Some(source)));
                }
                all.push(body);
            }
            let failed = deploying::errors_of(&body);
            for mut body in failed.iter().cloned() {
                if !global.json {
                    eprint!("{}", render(Level::Error, &body, Some(source)));
                }
                if let Some(body) = body.as_object_mut() {
                    body.insert("level".to_owned(), json!("error"));
                }
                all.push(body);
            }
            Ok(match (failed.is_empty(), refused.is_empty()) {
                (false, _) => Exit::Failed,
                (true, false) => Exit::Refused,
                (true, true) => Exit::Done,
            })
        }
        Err(failure) if matches!(failure.exit, Exit::Failed | Exit::Refused) => {
            if !global.json {
                complain(global, &failure, Some(source));
            }
            let mut body = failure.body;
            if let Some(body) = body.as_object_mut() {
                body.insert("level".to_owned(), json!("error"));
            }
            all.push(body);
            Ok(failure.exit)
        }
        Err(failure) => Err(failure),
    }
}
