//! A file of SQL, read by the server's own grammar: its statements, where they are, what they are, and running them.

use std::collections::HashSet;
use std::ffi::CString;

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use stonescriptdb_schema::{Facts, ObjectName};

use super::error::{PgError, catch};
use super::facts::{facts, relation_name};
use super::lexer;
use super::nodes::{make, pointers, tag};

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
    /// Anything else: SELECT, UPDATE, DO, …
    Other,
    /// Not to be run from a bundle's file, and why.
    Refused(&'static str),
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
        let placed = |error: PgError| ScriptError { line: line_of_char(text, error.position), error };
        let tokens = lexer::tokens(text).map_err(placed)?;
        // SAFETY: raw_parser reads the text and allocates in the current context.
        let trees = catch(|| unsafe {
            pointers::<pg_sys::RawStmt>(pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT))
        })
        .map_err(placed)?;
        let mut statements = Vec::with_capacity(trees.len());
        for tree in trees {
            // SAFETY: a RawStmt fresh from the parser.
            let (node, location) = unsafe { ((*tree).stmt, usize::try_from((*tree).stmt_location).unwrap_or(0)) };
            let first = tokens.partition_point(|token| token.at < location);
            let line = tokens.get(first).map_or(1, |token| line_of_byte(text, token.at));
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
        let body = tokens.iter().find(|placed| {
            line_of_byte(self.text(), placed.at) >= statement.line
                && matches!(&placed.token, lexer::Token::Text(text) if text == query)
        })?;
        // Neither quotes nor a dollar tag hold a line break, and escapes add none.
        Some(line_of_byte(self.text(), body.at) + line_of_char(query, error.internal_position) - 1)
    }

    /// Makes a CREATE FUNCTION or VIEW a CREATE OR REPLACE.
    pub(crate) fn make_replace(&mut self) {
        for statement in &mut self.statements {
            // SAFETY: casts follow the tag; the tree is ours.
            unsafe {
                let node = (*statement.tree).stmt;
                match tag(node) {
                    Some(NodeTag::T_CreateFunctionStmt) => (*node.cast::<pg_sys::CreateFunctionStmt>()).replace = true,
                    Some(NodeTag::T_ViewStmt) => (*node.cast::<pg_sys::ViewStmt>()).replace = true,
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

    /// Whether a CREATE TABLE can be tried as a temporary table: it is no partition, child or typed table.
    pub(crate) fn can_be_temporary(&self, statement: &Statement) -> bool {
        // SAFETY: as above.
        unsafe {
            let node = (*statement.tree).stmt;
            tag(node) == Some(NodeTag::T_CreateStmt) && {
                let create = &*node.cast::<pg_sys::CreateStmt>();
                create.inhRelations.is_null() && create.partbound.is_null() && create.ofTypename.is_null()
            }
        }
    }

    /// Runs ALTER TABLE … ADD COLUMN with a column as its CREATE TABLE defines it.
    ///
    /// # Errors
    /// As [`Script::run`].
    pub(crate) fn add_column(&self, statement: &Statement, column: &str) -> Result<(), ScriptError> {
        // SAFETY: works on a copy; nodes as the grammar builds them.
        catch(|| unsafe {
            let copy: *mut pg_sys::RawStmt = pg_sys::copyObjectImpl(statement.tree.cast()).cast();
            let create = (*copy).stmt.cast::<pg_sys::CreateStmt>();
            let definition = pointers::<pg_sys::Node>((*create).tableElts).into_iter().find(|element| {
                tag(*element) == Some(NodeTag::T_ColumnDef)
                    && super::error::text((*element.cast::<pg_sys::ColumnDef>()).colname).as_deref() == Some(column)
            });
            if let Some(definition) = definition {
                (*copy).stmt = super::foreign_keys::alter_table(
                    (*create).relation,
                    pg_sys::AlterTableType::AT_AddColumn,
                    definition,
                );
                super::execute::run_raw(copy, &self.source);
            }
        })
        .map_err(|error| self.place(error, statement))
    }

    /// Runs an INSERT into the temporary table of the same name instead of the one that it names.
    ///
    /// # Errors
    /// As [`Script::run`].
    pub(crate) fn run_into_temporary(&self, statement: &Statement) -> Result<(), ScriptError> {
        // SAFETY: works on a copy; the cast follows the tag.
        catch(|| unsafe {
            let copy: *mut pg_sys::RawStmt = pg_sys::copyObjectImpl(statement.tree.cast()).cast();
            if tag((*copy).stmt) == Some(NodeTag::T_InsertStmt) {
                let insert = (*copy).stmt.cast::<pg_sys::InsertStmt>();
                (*(*insert).relation).schemaname = pg_sys::pstrdup(c"pg_temp".as_ptr());
                (*insert).onConflictClause = std::ptr::null_mut();
                super::execute::run_raw(copy, &self.source);
            }
        })
        .map_err(|error| self.place(error, statement))
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

    /// The labels of a CREATE TYPE … AS ENUM.
    pub(crate) fn enum_labels(&self, statement: &Statement) -> Option<Vec<String>> {
        // SAFETY: the cast follows the tag; vals holds String nodes.
        unsafe {
            let node = (*statement.tree).stmt;
            (tag(node) == Some(NodeTag::T_CreateEnumStmt))
                .then(|| super::nodes::names((*node.cast::<pg_sys::CreateEnumStmt>()).vals))
        }
    }

    /// Runs a CREATE TABLE without its foreign keys as a temporary table of the same name, to see what it would be.
    ///
    /// # Errors
    /// As [`Script::run`].
    pub(crate) fn run_as_temporary(&self, statement: &Statement) -> Result<(), ScriptError> {
        // SAFETY: works on a copy; casts follow the tag.
        catch(|| unsafe {
            let copy: *mut pg_sys::RawStmt = pg_sys::copyObjectImpl(statement.tree.cast()).cast();
            super::foreign_keys::split((*copy).stmt, &|_| true);
            let create = (*copy).stmt.cast::<pg_sys::CreateStmt>();
            (*(*create).relation).schemaname = std::ptr::null_mut();
            (*(*create).relation).relpersistence = pg_sys::RELPERSISTENCE_TEMP as std::ffi::c_char;
            super::execute::run_raw(copy, &self.source);
        })
        .map_err(|error| self.place(error, statement))
    }

    /// A checksum over the tokens of the whole file.
    pub(crate) fn checksum(&self) -> String {
        // It was lexed once already.
        lexer::checksum(self.text()).unwrap_or_default()
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
            Some(
                NodeTag::T_SelectStmt
                | NodeTag::T_UpdateStmt
                | NodeTag::T_DeleteStmt
                | NodeTag::T_MergeStmt
                | NodeTag::T_DoStmt
                | NodeTag::T_CallStmt,
            ) => Kind::Other,
            Some(NodeTag::T_VariableSetStmt) => Kind::Set,
            Some(NodeTag::T_DropStmt | NodeTag::T_RenameStmt) => Kind::Removal,
            Some(NodeTag::T_AlterTableStmt) => {
                use pg_sys::AlterTableType as A;
                let commands = pointers::<pg_sys::AlterTableCmd>((*node.cast::<pg_sys::AlterTableStmt>()).cmds);
                let removes = commands
                    .iter()
                    .all(|command| matches!((**command).subtype, A::AT_DropColumn | A::AT_DropConstraint));
                if removes { Kind::Removal } else { Kind::Ddl }
            }
            Some(NodeTag::T_TransactionStmt) => {
                Kind::Refused("transaction control: every file runs inside the deployment's own transaction")
            }
            Some(
                NodeTag::T_CreatedbStmt
                | NodeTag::T_DropdbStmt
                | NodeTag::T_AlterDatabaseStmt
                | NodeTag::T_AlterDatabaseSetStmt,
            ) => Kind::Refused("CREATE, ALTER and DROP DATABASE: databases belong to the deployment, not to a bundle"),
            Some(
                NodeTag::T_CreateRoleStmt
                | NodeTag::T_AlterRoleStmt
                | NodeTag::T_AlterRoleSetStmt
                | NodeTag::T_DropRoleStmt,
            ) => Kind::Refused("CREATE, ALTER and DROP ROLE: roles are the whole server's, not one tenant's"),
            Some(NodeTag::T_AlterSystemStmt) => Kind::Refused("ALTER SYSTEM"),
            Some(NodeTag::T_LoadStmt) => Kind::Refused("LOAD"),
            Some(NodeTag::T_ListenStmt | NodeTag::T_UnlistenStmt) => Kind::Refused("LISTEN and UNLISTEN"),
            Some(NodeTag::T_VacuumStmt) if (*node.cast::<pg_sys::VacuumStmt>()).is_vacuumcmd => {
                Kind::Refused("VACUUM: it cannot run inside the deployment's transaction")
            }
            Some(NodeTag::T_IndexStmt) if (*node.cast::<pg_sys::IndexStmt>()).concurrent => Kind::Refused(
                "CREATE INDEX CONCURRENTLY: it cannot run inside the deployment's transaction; leave CONCURRENTLY out",
            ),
            Some(NodeTag::T_CreateTableSpaceStmt | NodeTag::T_DropTableSpaceStmt) => {
                Kind::Refused("CREATE and DROP TABLESPACE")
            }
            Some(NodeTag::T_CopyStmt) if (*node.cast::<pg_sys::CopyStmt>()).filename.is_null() => Kind::Refused(
                "COPY FROM STDIN and TO STDOUT: no client is there to send or to read the rows; use INSERT",
            ),
            _ => Kind::Ddl,
        }
    }
}

/// The line (from 1) of a byte.
fn line_of_byte(text: &str, byte: usize) -> u32 {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|b| **b == b'\n').count() as u32
}

/// The line (from 1) of a character, counted from 1; 0 is unknown and gives the first line.
fn line_of_char(text: &str, character: usize) -> u32 {
    1 + text.chars().take(character.saturating_sub(1)).filter(|c| *c == '\n').count() as u32
}
