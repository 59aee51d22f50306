//! Reading a case.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use acceptance::{Files, server};

/// One `.case` file.
pub(crate) struct Case {
    /// Its path below `tests/cases`, without the extension.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) title: String,
    /// The first version of PostgreSQL that it is for.
    pub(crate) from: u32,
    /// The last one.
    pub(crate) until: u32,
    /// The files of the first bundle.
    pub(crate) old: BTreeMap<String, String>,
    /// The files of the second bundle.
    pub(crate) new: BTreeMap<String, String>,
    /// SQL between the two.
    pub(crate) rows: Option<String>,
    /// Fields of the second deployment's request.
    pub(crate) options: Vec<(String, String)>,
    /// Steps that the plan must have; `Some` and empty: none at all.
    pub(crate) plan: Option<Vec<PlanLine>>,
    /// class, change_type, table or table.column
    pub(crate) changes: Vec<[String; 3]>,
    /// What must come of it.
    pub(crate) outcome: Outcome,
    /// Objects beyond the new bundle's.
    pub(crate) left: Vec<String>,
    /// Queries and the rows that they must give.
    pub(crate) then: Vec<(String, Vec<String>)>,
}

/// A line of `plan`.
pub(crate) struct PlanLine {
    pub(crate) class: String,
    pub(crate) object: String,
    pub(crate) hazards: Vec<String>,
}

/// What must come of the second deployment.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// An error code, and a change_type that is to blame.
    Refused(String, Option<String>),
    /// A SQLSTATE or `*`, and a file with a line.
    Fails(String, Option<(String, i64)>),
    Any,
}

/// All cases that `SSDB_CASE` asks for, by name.
///
/// # Panics
/// When there is none, or one of them is not written as the README says.
pub(crate) fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let wanted = std::env::var("SSDB_CASE").unwrap_or_default();
    let named = paths.iter().map(|path| {
        let name = path.strip_prefix(&root).expect("it is below").with_extension("");
        (name.display().to_string(), path)
    });
    let cases: Vec<Case> = named
        .filter(|(name, _)| name.contains(&wanted))
        .map(|(name, path)| {
            let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            parse(&name, &text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        })
        .collect();
    assert!(!cases.is_empty(), "no case's name contains {wanted:?}");
    cases.into_iter().filter(|case| (case.from..=case.until).contains(&server::major())).collect()
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a directory can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "case") {
            paths.push(path);
        }
    }
}

fn parse(name: &str, text: &str) -> Result<Case, String> {
    let (title, rest) = text.split_once('\n').ok_or("empty")?;
    let title = title.strip_prefix("# ").ok_or("the first line is not '# what it shows'")?.to_owned();
    let mut case = Case {
        name: name.to_owned(),
        title,
        from: 0,
        until: u32::MAX,
        old: BTreeMap::new(),
        new: BTreeMap::new(),
        rows: None,
        options: Vec::new(),
        plan: None,
        changes: Vec::new(),
        outcome: Outcome::Done,
        left: Vec::new(),
        then: Vec::new(),
    };
    for section in format!("\n{rest}").split("\n== ").skip(1) {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        add(&mut case, head.trim(), body)?;
    }
    if case.old.is_empty() || case.new.is_empty() {
        return Err("no file for one of the two bundles".into());
    }
    Ok(case)
}

fn add(case: &mut Case, head: &str, body: &str) -> Result<(), String> {
    let lines = || body.lines().map(str::trim).filter(|line| !line.is_empty());
    let bars = |line: &str| line.split('|').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
    if let Some((which, path)) = head.split_once(": ") {
        let text = format!("{}\n", body.trim_end());
        let twice = match which {
            "old" => case.old.insert(path.into(), text).is_some(),
            "new" => case.new.insert(path.into(), text).is_some(),
            "both" => {
                case.old.insert(path.into(), text.clone()).is_some() | case.new.insert(path.into(), text).is_some()
            }
            _ => return Err(format!("unknown section {head:?}")),
        };
        return if twice { Err(format!("{path} is there twice")) } else { Ok(()) };
    }
    match head {
        "from" => case.from = version(body)?,
        "until" => case.until = version(body)?,
        "rows" => case.rows = Some(body.to_owned()),
        "options" => {
            for line in lines() {
                let (name, value) = line.split_once('=').ok_or_else(|| format!("an option without a value: {line}"))?;
                case.options.push((name.into(), value.into()));
            }
        }
        "plan" => {
            let mut plan = Vec::new();
            for line in lines().filter(|line| *line != "none") {
                match bars(line).as_slice() {
                    [class, object] => {
                        plan.push(PlanLine { class: class.clone(), object: object.clone(), hazards: Vec::new() });
                    }
                    [class, object, hazards] => plan.push(PlanLine {
                        class: class.clone(),
                        object: object.clone(),
                        hazards: hazards.split(' ').map(str::to_owned).collect(),
                    }),
                    _ => return Err(format!("a step is class | object | hazards: {line}")),
                }
            }
            case.plan = Some(plan);
        }
        "changes" => {
            for line in lines() {
                let change = <[String; 3]>::try_from(bars(line));
                case.changes.push(change.map_err(|_| format!("a change is class | type | object: {line}"))?);
            }
        }
        "outcome" => case.outcome = outcome(body.trim())?,
        "left" => case.left = lines().map(str::to_owned).collect(),
        "then" => {
            for line in lines() {
                match (line.strip_prefix("-> "), case.then.last_mut()) {
                    (Some(row), Some((_, rows))) => rows.push(row.to_owned()),
                    (Some(_), None) => return Err("a row before any query".into()),
                    (None, _) => case.then.push((line.to_owned(), Vec::new())),
                }
            }
        }
        _ => return Err(format!("unknown section {head:?}")),
    }
    Ok(())
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["ok"] => Ok(Outcome::Done),
        ["any"] => Ok(Outcome::Any),
        ["refused", code] => Ok(Outcome::Refused((*code).into(), None)),
        ["refused", code, change] => Ok(Outcome::Refused((*code).into(), Some((*change).into()))),
        ["fails", sqlstate] => Ok(Outcome::Fails((*sqlstate).into(), None)),
        ["fails", sqlstate, place] => {
            let (file, line) = place.split_once(':').ok_or("a place is file:line")?;
            let line = line.parse().map_err(|e| format!("{place}: {e}"))?;
            Ok(Outcome::Fails((*sqlstate).into(), Some((file.into(), line))))
        }
        _ => Err(format!("unknown outcome {text:?}")),
    }
}

/// A bundle of some files.
pub(crate) fn bundle(files: &BTreeMap<String, String>) -> Files {
    files.iter().fold(Files::new(), |bundle, (path, text)| bundle.file(path, text))
}

fn version(body: &str) -> Result<u32, String> {
    body.trim().parse().map_err(|error| format!("a version is a number: {error}"))
}
