//! A bundle's files, read as SQL and put in order.

use stonescriptdb_bundle::{Bundle, BundleError, Kind as FileKind, SourceFile};
use stonescriptdb_protocol::{ErrorCode, Failure};
use stonescriptdb_schema::{Facts, Graph};

use crate::error::from_postgres;
use crate::postgres::{Kind, Script, ScriptError, Statement};
use crate::settings;

/// A file and its statements.
pub(crate) struct Source {
    pub(crate) kind: FileKind,
    pub(crate) path: String,
    /// The last part of the path, by which migrations are known.
    pub(crate) file_name: String,
    /// SHA-256 of the bytes, in hex.
    pub(crate) raw_checksum: String,
    /// Over the tokens: blind to white space and comments.
    pub(crate) checksum: String,
    /// A migration that does not say that it runs outside the transaction; every other file.
    pub(crate) transactional: bool,
    pub(crate) script: Script,
}

/// A statement by its file and its place there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unit {
    pub(crate) source: usize,
    pub(crate) statement: usize,
}

/// A bundle ready to be applied.
pub(crate) struct Sources {
    pub(crate) files: Vec<Source>,
    /// Statements of types/, tables/, functions/ and views/, in an order in which they can run.
    pub(crate) units: Vec<Unit>,
    /// The same, as the graph knows them: in natural order.
    natural: Vec<Unit>,
    graph: Graph,
}

/// Reads an archive.
///
/// # Errors
/// `schema_extraction_failed` with the file and, where it is known, the line.
pub(crate) fn read_bundle(archive: &[u8]) -> Result<Bundle, Failure> {
    Bundle::read(archive, &settings::archive_limits()).map_err(|error: BundleError| {
        let failure = Failure::new(ErrorCode::SchemaExtractionFailed, error.to_string());
        match error.path() {
            Some(path) => failure.at(path, error.line()),
            None => failure,
        }
    })
}

impl Sources {
    /// Parses every file and orders the statements. Trees are allocated in the current memory context: call inside a transaction.
    ///
    /// # Errors
    /// `schema_extraction_failed`: SQL that does not parse, a statement that no bundle may contain, statements that need each other.
    pub(crate) fn read(bundle: &Bundle) -> Result<Sources, Failure> {
        Sources::read_files(bundle, |file| file.kind != FileKind::Extension)
    }

    /// As [`Sources::read`], only the files of some kinds.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub(crate) fn read_kinds(bundle: &Bundle, kinds: &[FileKind]) -> Result<Sources, Failure> {
        Sources::read_files(bundle, |file| kinds.contains(&file.kind))
    }

    /// As [`Sources::read`], only some files.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub(crate) fn read_files(bundle: &Bundle, wanted: impl Fn(&SourceFile) -> bool) -> Result<Sources, Failure> {
        let files = bundle.files.iter().filter(|file| wanted(file));
        Sources::ordered(files.map(|file| source(file, bundle)).collect::<Result<Vec<_>, _>>()?)
    }

    fn ordered(files: Vec<Source>) -> Result<Sources, Failure> {
        let natural: Vec<Unit> = files
            .iter()
            .enumerate()
            .filter(|(_, source)| !matches!(source.kind, FileKind::Migration | FileKind::Seeder))
            .flat_map(|(index, source)| {
                (0..source.script.statements.len()).map(move |statement| Unit { source: index, statement })
            })
            .collect();
        refuse_twins(&files, &natural)?;
        let facts: Vec<(usize, &Facts)> =
            natural.iter().filter_map(|unit| Some((unit.source, &statement_of(&files, *unit)?.facts))).collect();
        let graph =
            Graph::new(&facts).map_err(|tangle| Failure::new(ErrorCode::SchemaExtractionFailed, tangle.to_string()))?;
        let order = graph.order().map_err(|cycle| cyclic(&files, &natural, &cycle.0))?;
        let units = order.into_iter().filter_map(|number| natural.get(number).copied()).collect();
        Ok(Sources { files, units, natural, graph })
    }

    pub(crate) fn of_kind(&self, kind: FileKind) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(move |source| source.kind == kind)
    }

    /// Migrations in the order in which they run.
    pub(crate) fn migrations(&self) -> impl Iterator<Item = &Source> {
        // The bundle's order: by file name, whatever folder they are in.
        self.of_kind(FileKind::Migration)
    }

    /// A unit's file and statement.
    pub(crate) fn get(&self, unit: Unit) -> Option<(&Source, &Statement)> {
        let source = self.files.get(unit.source)?;
        Some((source, source.script.statements.get(unit.statement)?))
    }

    /// Units that make what `is_later` says, and all that needs them.
    pub(crate) fn later(&self, is_later: impl Fn(&Statement) -> bool) -> Vec<Unit> {
        let first: Vec<usize> = self
            .natural
            .iter()
            .enumerate()
            .filter(|(_, unit)| self.get(**unit).is_some_and(|(_, statement)| is_later(statement)))
            .map(|(number, _)| number)
            .collect();
        self.graph.dependents(&first).into_iter().filter_map(|number| self.natural.get(number).copied()).collect()
    }
}

fn statement_of(files: &[Source], unit: Unit) -> Option<&Statement> {
    files.get(unit.source)?.script.statements.get(unit.statement)
}

fn source(file: &SourceFile, bundle: &Bundle) -> Result<Source, Failure> {
    let refused = |message: String, line: u32| {
        Failure::new(ErrorCode::SchemaExtractionFailed, message).at(&file.path, Some(line))
    };
    let transactional = file.kind != FileKind::Migration || !says_no_transaction(&file.text);
    let mut script =
        Script::parse(&file.text).map_err(|error| failure(ErrorCode::SchemaExtractionFailed, error, &file.path))?;
    for statement in &script.statements {
        match &statement.kind {
            Kind::Refused(why) => return Err(refused(format!("a bundle may not contain {why}"), statement.line)),
            Kind::Extension(name) if !has_extension(bundle, name) => {
                let failure =
                    refused("a bundle may not contain CREATE EXTENSION as a statement".to_owned(), statement.line);
                return Err(failure.hint(format!(
                    "An extension is a file of the folder extensions/: add extensions/{name}.sql, which may be empty. With it the statement may stay."
                )));
            }
            Kind::TopLevel(why) if transactional => {
                let failure = refused(format!("a bundle may not contain {why}"), statement.line);
                return Err(failure.hint(no_transaction_hint()));
            }
            _ => {}
        }
    }
    script.make_replace();
    Ok(Source {
        kind: file.kind,
        path: file.path.clone(),
        file_name: file.file_name().to_owned(),
        raw_checksum: file.sha256.clone(),
        checksum: script.checksum(),
        transactional,
        script,
    })
}

/// An extension that the bundle has a file for is there before any statement runs, and CREATE EXTENSION does nothing then. So old migrations,
/// which must not change any more, may keep theirs.
fn has_extension(bundle: &Bundle, name: &str) -> bool {
    bundle.of_kind(FileKind::Extension).any(|file| file.extension_request().is_some_and(|request| request.name == name))
}

/// First line of a migration whose statements run one by one, outside of any transaction.
const NO_TRANSACTION: &str = "-- stonescriptdb: no-transaction";

/// What to do about a statement that refuses to run in a transaction.
pub(crate) fn no_transaction_hint() -> String {
    format!("A migration may, if its first line is \"{NO_TRANSACTION}\".")
}

fn says_no_transaction(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.split_whitespace().eq(NO_TRANSACTION.split_whitespace())
}

/// An error of a script as a failure with its place.
pub(crate) fn failure(code: ErrorCode, error: ScriptError, path: &str) -> Failure {
    from_postgres(code, error.error).at(path, Some(error.line))
}

/// Two definitions of one table, view or type: which of them counts would be a matter of file names.
fn refuse_twins(files: &[Source], natural: &[Unit]) -> Result<(), Failure> {
    let mut known = std::collections::HashMap::new();
    for unit in natural {
        let (Some(source), Some(statement)) = (files.get(unit.source), statement_of(files, *unit)) else { continue };
        if let Kind::Table(name) | Kind::View(name) | Kind::Type(name) = &statement.kind
            && let Some((path, line)) = known.insert(name, (&source.path, statement.line))
        {
            return Err(Failure::new(
                ErrorCode::SchemaExtractionFailed,
                format!("{} is defined twice", name.display()),
            )
            .detail(format!("It is also defined at {path}:{line}."))
            .at(&source.path, Some(statement.line)));
        }
    }
    Ok(())
}

/// Statements of a cycle that an error lists.
const CYCLE_SHOWN: usize = 50;

fn cyclic(files: &[Source], natural: &[Unit], members: &[usize]) -> Failure {
    let places: Vec<(String, u32)> = members
        .iter()
        .filter_map(|number| {
            let unit = natural.get(*number)?;
            Some((files.get(unit.source)?.path.clone(), statement_of(files, *unit)?.line))
        })
        .collect();
    let mut list: Vec<String> = places.iter().take(CYCLE_SHOWN).map(|(path, line)| format!("{path}:{line}")).collect();
    if places.len() > CYCLE_SHOWN {
        list.push(format!("and {} more", places.len() - CYCLE_SHOWN));
    }
    let failure = Failure::new(
        ErrorCode::SchemaExtractionFailed,
        "statements of the bundle need each other: there is no order for them",
    )
    .detail(format!("A cycle: {}", list.join(", ")))
    .hint("Break it with a separate ALTER, or with a function whose body is a string.");
    match places.first() {
        Some((path, line)) => failure.at(path, Some(*line)),
        None => failure,
    }
}
