//! A file of SQL, read by the server's own grammar: its statements, where they are, what they are, and running them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::CString;

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use stonescriptdb_schema::{Facts, ObjectName};

use super::error::{PgError, catch};
use super::facts::{facts, relation_name};
use super::lexer;
use super::lines::{Lines, line_of_char};
use super::meta_command;
use super::nodes::{make, pointers, tag};
use super::refused::why_refused;
use super::renamed::{self, Renamed};

/// What a statement is, as far as a deployment treats it in its own way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// CREATE TABLE, with its name.
    Table(ObjectName),
    /// CREATE VIEW.
    View(ObjectName),
    /// CREATE FUNCTION or PROCEDURE.
    Function,
    /// CREATE TYPE or DOMAIN.
    Type(ObjectName),
    /// INSERT into a table.
    Insert(ObjectName),
    /// DROP, RENAME, or an ALTER TABLE that only removes.
    Removal,
    /// A change of the schema that is none of the above.
    Ddl,
    /// SET: for the statements behind it in the same file.
    Set,
    /// UPDATE, DELETE or MERGE.
    Change,
    /// Anything else: SELECT, DO, CALL, …
    Other,
    /// Not to be run inside a transaction, and why; for migrations that say that they have none.
    TopLevel(&'static str),
    /// CREATE EXTENSION, with its name.
    Extension(String),
    /// Not to be run from a bundle's file, and why.
    Refused(Cow<'static, str>),
}

/// One statement of a file.
pub(crate) struct Statement {
    tree: *mut pg_sys::RawStmt,
    pub(crate) kind: Kind,
    pub(crate) facts: Facts,
    /// Line of its first token, from 1.
    pub(crate) line: u32,
}

/// A file and its statements. The trees live in the memory context that was current when it was parsed.
pub(crate) struct Script {
    source: CString,
    pub(crate) statements: Vec<Statement>,
}

/// An error in a file: PostgreSQL's, and the line.
#[derive(Debug)]
pub(crate) struct ScriptError {
    pub(crate) error: PgError,
    pub(crate) line: u32,
}

/// An error beside any statement: of a subtransaction's own.
impl From<PgError> for ScriptError {
    fn from(error: PgError) -> ScriptError {
        ScriptError { error, line: 1 }
    }
}

impl Script {
    /// Parses a file.
    ///
    /// # Errors
    /// 42601 and the line, for text that the grammar refuses.
    pub(crate) fn parse(text: &str) -> Result<Script, ScriptError> {
        let source = CString::new(text)
            .map_err(|_| ScriptError { error: PgError::new("22021", "the text contains a zero byte"), line: 1 })?;
        let placed = |error: PgError| {
            let error = meta_command::named(error, text);
            ScriptError { line: line_of_char(text, error.position), error }
        };
        let tokens = lexer::tokens(text).map_err(placed)?;
        // SAFETY: raw_parser reads the text and allocates in the current context.
        let trees = catch(|| unsafe {
            pointers::<pg_sys::RawStmt>(pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT))
        })
        .map_err(placed)?;
        let mut statements = Vec::with_capacity(trees.len());
        let mut lines = Lines::new(text);
        for tree in trees {
            // SAFETY: a RawStmt fresh from the parser.
            let (node, location) = unsafe { ((*tree).stmt, usize::try_from((*tree).stmt_location).unwrap_or(0)) };
            let first = tokens.partition_point(|token| token.at < location);
            let line = tokens.get(first).map_or(1, |token| lines.of(token.at));
            // SAFETY: as above. The walker may raise on trees too deep for the stack.
            let (kind, facts) =
                catch(|| unsafe { (kind(node), facts(node)) }).map_err(|error| ScriptError { error, line })?;
            statements.push(Statement { tree, kind, facts, line });
        }
        Ok(Script { source, statements })
    }

    fn text(&self) -> &str {
        self.source.to_str().unwrap_or_default()
    }

    /// Runs a statement; gives the rows that it processed. The tree stays as it is, so that it can be run again.
    ///
    /// # Errors
    /// PostgreSQL's own, with the line in this file as exact as it is known. The (sub)transaction must be rolled back then.
    pub(crate) fn run(&self, statement: &Statement) -> Result<u64, ScriptError> {
        // SAFETY: a copy of a live tree is this run's own.
        catch(|| unsafe {
            let copy = pg_sys::copyObjectImpl(statement.tree.cast()).cast();
            super::execute::run_raw(copy, &self.source)
        })
        .map_err(|error| self.place(error, statement))
    }

    /// Runs a statement as a client's own would run, outside of any transaction: one that refuses to run in a transaction block may. It is
    /// cancelled after so many milliseconds; 0 is no limit.
    ///
    /// # Errors
    /// As [`Script::run`]. What the statement committed on its way stays.
    pub(crate) fn run_at_top_level(&self, statement: &Statement, timeout_ms: u32) -> Result<(), ScriptError> {
        // SAFETY: a copy in the current context, which outlives the transactions.
        catch(|| unsafe { pg_sys::copyObjectImpl(statement.tree.cast()).cast() })
            .and_then(|copy| super::session::with_timeout(timeout_ms, || super::toplevel::run_raw(copy, &self.source)))
            .map_err(|error| self.place(error, statement))
    }

    /// The line of an error that a statement raised: of its position, of the place in the body that the server complains of, or of the
    /// statement.
    pub(crate) fn place(&self, error: PgError, statement: &Statement) -> ScriptError {
        let line = if error.position > 0 {
            line_of_char(self.text(), error.position)
        } else {
            self.line_in_body(&error, statement).unwrap_or(statement.line)
        };
        ScriptError { error, line }
    }

    /// Where the server complains of a piece of text that it parsed on our behalf, and that text is a literal of the statement: a
    /// function's body.
    fn line_in_body(&self, error: &PgError, statement: &Statement) -> Option<u32> {
        let query = error.internal_query.as_deref().filter(|_| error.internal_position > 0)?;
        let tokens = lexer::tokens(self.text()).ok()?;
        let mut lines = Lines::new(self.text());
        let mut bodies =
            tokens.iter().filter(|placed| matches!(&placed.token, lexer::Token::Text(text) if text == query));
        let line = bodies.find_map(|body| Some(lines.of(body.at)).filter(|line| *line >= statement.line))?;
        // Neither quotes nor a dollar tag hold a line break, and escapes add none.
        Some(line + line_of_char(query, error.internal_position) - 1)
    }

    /// Makes a CREATE FUNCTION or VIEW a CREATE OR REPLACE, and gives ALTER TYPE … ADD VALUE and CREATE EXTENSION their IF NOT EXISTS: a new
    /// value is committed, and an extension is installed, before the statement runs.
    pub(crate) fn make_replace(&mut self) {
        for statement in &mut self.statements {
            // SAFETY: casts follow the tag; the tree is ours.
            unsafe {
                let node = (*statement.tree).stmt;
                match tag(node) {
                    Some(NodeTag::T_CreateFunctionStmt) => (*node.cast::<pg_sys::CreateFunctionStmt>()).replace = true,
                    Some(NodeTag::T_ViewStmt) => (*node.cast::<pg_sys::ViewStmt>()).replace = true,
                    Some(NodeTag::T_AlterEnumStmt) => {
                        (*node.cast::<pg_sys::AlterEnumStmt>()).skipIfNewValExists = true;
                    }
                    Some(NodeTag::T_CreateExtensionStmt) => {
                        (*node.cast::<pg_sys::CreateExtensionStmt>()).if_not_exists = true;
                    }
                    _ => {}
                }
            }
        }
    }

    /// A CREATE TABLE without its foreign keys to tables that `are_missing`, and each of these as an ALTER TABLE of its own, as
    /// parse_utilcmd.c does it with all of them a step later.
    ///
    /// # Errors
    /// None but memory's.
    pub(crate) fn without_foreign_keys(
        &self,
        statement: &Statement,
        are_missing: &HashSet<ObjectName>,
    ) -> Result<(Statement, Vec<Statement>), PgError> {
        // SAFETY: works on a copy; the new nodes are wrapped as the grammar would.
        catch(|| unsafe {
            let copy: *mut pg_sys::RawStmt = pg_sys::copyObjectImpl(statement.tree.cast()).cast();
            let taken = super::foreign_keys::split((*copy).stmt, &|table| are_missing.contains(table));
            let wrap = |node: *mut pg_sys::Node| {
                let raw: *mut pg_sys::RawStmt = make(NodeTag::T_RawStmt);
                (*raw).stmt = node;
                (*raw).stmt_location = (*copy).stmt_location;
                (*raw).stmt_len = (*copy).stmt_len;
                Statement { tree: raw, kind: Kind::Ddl, facts: facts(node), line: statement.line }
            };
            let keys = taken.into_iter().map(wrap).collect();
            (
                Statement {
                    tree: copy,
                    kind: statement.kind.clone(),
                    facts: statement.facts.clone(),
                    line: statement.line,
                },
                keys,
            )
        })
    }

    /// The columns that an INSERT names; empty for all of them.
    pub(crate) fn inserted_columns(&self, statement: &Statement) -> Vec<String> {
        // SAFETY: the cast follows the tag; the list holds ResTarget nodes.
        unsafe {
            let node = (*statement.tree).stmt;
            if tag(node) != Some(NodeTag::T_InsertStmt) {
                return Vec::new();
            }
            pointers::<pg_sys::ResTarget>((*node.cast::<pg_sys::InsertStmt>()).cols)
                .into_iter()
                .filter_map(|target| super::error::text((*target).name))
                .collect()
        }
    }

    /// A checksum over the tokens of the whole file.
    pub(crate) fn checksum(&self) -> String {
        // It was lexed once already.
        lexer::checksum(self.text()).unwrap_or_default()
    }

    /// Whether an INSERT takes its rows from tables.
    pub(crate) fn is_insert_of_query(&self, statement: &Statement) -> bool {
        // SAFETY: casts follow the tags.
        unsafe {
            let node = (*statement.tree).stmt;
            if tag(node) != Some(NodeTag::T_InsertStmt) {
                return false;
            }
            let query = (*node.cast::<pg_sys::InsertStmt>()).selectStmt;
            tag(query) == Some(NodeTag::T_SelectStmt) && {
                let select = &*query.cast::<pg_sys::SelectStmt>();
                select.valuesLists.is_null() && !select.fromClause.is_null()
            }
        }
    }

    /// The type to which an ALTER TYPE … ADD VALUE adds one.
    pub(crate) fn enum_with_new_value(&self, statement: &Statement) -> Option<ObjectName> {
        // SAFETY: the cast follows the tag.
        unsafe {
            let node = (*statement.tree).stmt;
            if tag(node) != Some(NodeTag::T_AlterEnumStmt) {
                return None;
            }
            let alter = &*node.cast::<pg_sys::AlterEnumStmt>();
            if !alter.oldVal.is_null() {
                return None;
            }
            super::facts::qualified(stonescriptdb_schema::Class::Type, alter.typeName)
        }
    }

    /// The index that a CREATE INDEX CONCURRENTLY makes, if it names one.
    pub(crate) fn index_built_concurrently(&self, statement: &Statement) -> Option<ObjectName> {
        // SAFETY: the cast follows the tag.
        unsafe {
            let node = (*statement.tree).stmt;
            if tag(node) != Some(NodeTag::T_IndexStmt) || !(*node.cast::<pg_sys::IndexStmt>()).concurrent {
                return None;
            }
            statement.facts.provides.first().cloned()
        }
    }

    /// Whether a statement makes or changes an object of the kinds that catalogs are compared by name only.
    pub(crate) fn is_known_by_name(&self, statement: &Statement) -> bool {
        // SAFETY: the cast follows the tag.
        unsafe {
            let node = (*statement.tree).stmt;
            match tag(node) {
                Some(NodeTag::T_DefineStmt) => !matches!(
                    (*node.cast::<pg_sys::DefineStmt>()).kind,
                    pg_sys::ObjectType::OBJECT_AGGREGATE | pg_sys::ObjectType::OBJECT_TYPE
                ),
                Some(
                    NodeTag::T_CreateOpClassStmt
                    | NodeTag::T_CreateOpFamilyStmt
                    | NodeTag::T_AlterOpFamilyStmt
                    | NodeTag::T_CreateCastStmt
                    | NodeTag::T_CreateConversionStmt
                    | NodeTag::T_AlterTSConfigurationStmt
                    | NodeTag::T_CreateForeignServerStmt
                    | NodeTag::T_CreateUserMappingStmt
                    | NodeTag::T_CreateForeignTableStmt
                    | NodeTag::T_CreatePublicationStmt,
                ) => true,
                _ => false,
            }
        }
    }

    /// The text of a statement, without the comments before it.
    pub(crate) fn statement_text(&self, statement: &Statement) -> &str {
        // SAFETY: a live tree.
        let (start, length) = unsafe { ((*statement.tree).stmt_location, (*statement.tree).stmt_len) };
        let text = self.text();
        let start = usize::try_from(start).unwrap_or(0);
        let end = usize::try_from(length).ok().filter(|length| *length > 0).map_or(text.len(), |length| start + length);
        let text = text.get(start..end).unwrap_or_default().trim();
        let first = lexer::tokens(text).ok().and_then(|tokens| tokens.first().map(|token| token.at)).unwrap_or(0);
        text.get(first..).unwrap_or(text)
    }

    /// Every comment `-- @renamed from=old` with what stands behind it.
    pub(crate) fn renames(&self) -> Vec<Renamed> {
        renamed::renames(self.text())
    }

    /// Identity of the function that a CREATE FUNCTION makes: schema, name and the OIDs of its input types, now.
    ///
    /// # Errors
    /// An unknown type.
    pub(crate) fn function_identity(&self, statement: &Statement) -> Result<FunctionIdentity, ScriptError> {
        // SAFETY: a live CreateFunctionStmt.
        catch(|| unsafe { identity((*statement.tree).stmt.cast()) }).map_err(|error| self.place(error, statement))
    }
}

/// What PostgreSQL knows a function by.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FunctionIdentity {
    pub(crate) schema: pg_sys::Oid,
    pub(crate) name: String,
    pub(crate) arguments: Vec<pg_sys::Oid>,
}

unsafe fn identity(function: *mut pg_sys::CreateFunctionStmt) -> FunctionIdentity {
    // SAFETY: the caller's promise; typenameTypeId raises on unknown types.
    unsafe {
        let mut name = std::ptr::null_mut();
        let schema = pg_sys::QualifiedNameGetCreationNamespace((*function).funcname, &mut name);
        let arguments = pointers::<pg_sys::FunctionParameter>((*function).parameters)
            .into_iter()
            .filter(|parameter| {
                let mode = (**parameter).mode;
                mode != pg_sys::FunctionParameterMode::FUNC_PARAM_OUT
                    && mode != pg_sys::FunctionParameterMode::FUNC_PARAM_TABLE
            })
            .map(|parameter| pg_sys::typenameTypeId(std::ptr::null_mut(), (*parameter).argType))
            .collect();
        FunctionIdentity { schema, name: super::error::text(name).unwrap_or_default(), arguments }
    }
}

/// # Safety
/// `node` must be a live raw parse tree.
unsafe fn kind(node: *mut pg_sys::Node) -> Kind {
    // SAFETY: casts follow the tag.
    unsafe {
        let first = |class: fn(ObjectName) -> Kind| facts(node).provides.into_iter().next().map_or(Kind::Ddl, class);
        if let Some(why) = why_refused(node) {
            return Kind::Refused(why);
        }
        match tag(node) {
            Some(NodeTag::T_CreateStmt) => first(Kind::Table),
            Some(NodeTag::T_ViewStmt) => first(Kind::View),
            Some(NodeTag::T_CreateFunctionStmt) => Kind::Function,
            Some(
                NodeTag::T_CompositeTypeStmt
                | NodeTag::T_CreateEnumStmt
                | NodeTag::T_CreateRangeStmt
                | NodeTag::T_CreateDomainStmt,
            ) => first(Kind::Type),
            Some(NodeTag::T_InsertStmt) => {
                relation_name((*node.cast::<pg_sys::InsertStmt>()).relation).map_or(Kind::Other, Kind::Insert)
            }
            Some(NodeTag::T_UpdateStmt | NodeTag::T_DeleteStmt | NodeTag::T_MergeStmt) => Kind::Change,
            Some(NodeTag::T_SelectStmt | NodeTag::T_DoStmt | NodeTag::T_CallStmt) => Kind::Other,
            Some(NodeTag::T_VariableSetStmt) => Kind::Set,
            Some(NodeTag::T_DropStmt) if !(*node.cast::<pg_sys::DropStmt>()).concurrent => Kind::Removal,
            Some(NodeTag::T_RenameStmt) => Kind::Removal,
            Some(NodeTag::T_AlterTableStmt) => {
                use pg_sys::AlterTableType as A;
                let commands = pointers::<pg_sys::AlterTableCmd>((*node.cast::<pg_sys::AlterTableStmt>()).cmds);
                let removes = commands
                    .iter()
                    .all(|command| matches!((**command).subtype, A::AT_DropColumn | A::AT_DropConstraint));
                if removes { Kind::Removal } else { Kind::Ddl }
            }
            Some(NodeTag::T_CreateExtensionStmt) => {
                let name = super::error::text((*node.cast::<pg_sys::CreateExtensionStmt>()).extname);
                Kind::Extension(name.unwrap_or_default())
            }
            Some(NodeTag::T_VacuumStmt) if (*node.cast::<pg_sys::VacuumStmt>()).is_vacuumcmd => {
                Kind::TopLevel("VACUUM: it cannot run inside the deployment's transaction")
            }
            Some(NodeTag::T_IndexStmt) if (*node.cast::<pg_sys::IndexStmt>()).concurrent => {
                Kind::TopLevel("CREATE INDEX CONCURRENTLY: it cannot run inside the deployment's transaction")
            }
            Some(NodeTag::T_DropStmt) if (*node.cast::<pg_sys::DropStmt>()).concurrent => {
                Kind::TopLevel("DROP INDEX CONCURRENTLY: it cannot run inside the deployment's transaction")
            }
            _ => Kind::Ddl,
        }
    }
}
