//! Where the extension is called by PostgreSQL: settings with hooks, statements about whole databases, the end of transactions.

use std::cell::Cell;
use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use stonescriptdb_protocol::{ErrorCode, Failure};

use super::error::{guard, text};
use super::nodes::{pointers, tag};

/// What a setting with a form must be.
#[derive(Clone, Copy)]
pub(crate) enum Checked {
    /// A list of networks.
    Networks,
    /// Lists of networks of single listeners.
    ListenerNetworks,
}

/// Defines a setting that has a form: a bad value is refused when it is set or reloaded, with what is wrong with it, and the old one stays.
pub(crate) fn define_checked(
    name: &'static CStr,
    description: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
    checked: Checked,
) {
    let (context, flags) = (GucContext::Sighup, GucFlags::empty());
    let check: pg_sys::GucStringCheckHook = match checked {
        Checked::Networks => Some(check_networks),
        Checked::ListenerNetworks => Some(check_listener_networks),
    };
    // SAFETY: the hook is one of the functions below, which read the new value.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            description,
            crate::settings::more(name),
            setting,
            context,
            flags,
            check,
            None,
            None,
        );
    }
}

unsafe extern "C-unwind" fn check_networks(
    value: *mut *mut std::ffi::c_char,
    _extra: *mut *mut std::ffi::c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as guc.c calls it.
    unsafe { check(value, |value| crate::settings::parse_networks(value).map(drop)) }
}

unsafe extern "C-unwind" fn check_listener_networks(
    value: *mut *mut std::ffi::c_char,
    _extra: *mut *mut std::ffi::c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as guc.c calls it.
    unsafe { check(value, |value| crate::settings::parse_listener_networks(value).map(drop)) }
}

/// # Safety
/// `value` is what guc.c passes to a check hook: the address of a string, or of null.
unsafe fn check(value: *mut *mut std::ffi::c_char, parse: fn(&str) -> Result<(), String>) -> bool {
    // SAFETY: the caller's promise.
    let value = unsafe { text(*value) }.unwrap_or_default();
    let Err(wrong) = parse(&value) else { return true };
    if let Ok(wrong) = CString::new(wrong) {
        // SAFETY: what GUC_check_errdetail does: the copy is in the memory of errors, and guc.c shows it after this hook.
        unsafe {
            pg_sys::pre_format_elog_string(0, std::ptr::null());
            pg_sys::GUC_check_errdetail_string = pg_sys::format_elog_string(c"%s".as_ptr(), wrong.as_ptr());
        }
    }
    false
}

/// Makes unknown settings under our prefix an error rather than placeholders.
pub(crate) fn reserve_prefix() {
    // SAFETY: the string is static.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"stonescriptdb".as_ptr()) }
}

/// Whether the library is being loaded by `shared_preload_libraries`, the only way in which it works.
pub(crate) fn is_preloading() -> bool {
    // SAFETY: a plain flag.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// What happens at the end of a transaction of an ordinary backend.
#[derive(Clone, Copy)]
pub(crate) struct EndOfTransaction {
    /// The registry was changed in it, and it committed.
    pub(crate) registry_changed: fn(),
    /// It ended, either way, and held databases.
    pub(crate) release_databases: fn(),
    /// It changed what the catalog of the connected database says, and is about to commit.
    pub(crate) touching: fn(u32),
    /// It made the table anew that says which bundle the connected database is in the state of, and is about to commit.
    pub(crate) restoring: fn(u32),
    /// It has committed.
    pub(crate) touched: fn(u32),
}

/// What has to be kept still until `release_databases`.
#[derive(Clone, Copy)]
pub(crate) struct Holds {
    /// Stops the executors of a database and keeps new ones out.
    pub(crate) database: fn(&str),
    /// Has all deployments end, and none begin.
    pub(crate) deployments: fn(),
}

thread_local! {
    static HOLDS: Cell<Option<Holds>> = const { Cell::new(None) };
    static AT_END: Cell<Option<EndOfTransaction>> = const { Cell::new(None) };
    static REGISTRY_CHANGED: Cell<bool> = const { Cell::new(false) };
    static EXECUTOR: Cell<bool> = const { Cell::new(false) };
    static CALLING: Cell<bool> = const { Cell::new(false) };
    static TOUCHED: Cell<bool> = const { Cell::new(false) };
    static RESTORING: Cell<bool> = const { Cell::new(false) };
    static HOLDING: Cell<bool> = const { Cell::new(false) };
    static PREVIOUS: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

/// Installs the hooks; once, in the postmaster, so that every backend has them.
pub(crate) fn install(holds: Holds, at_end: EndOfTransaction) {
    HOLDS.set(Some(holds));
    AT_END.set(Some(at_end));
    // SAFETY: hooks are set while the library is loaded, as every extension sets them; callbacks live as long as the library.
    unsafe {
        PREVIOUS.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(process_utility);
        pg_sys::RegisterXactCallback(Some(end_of_transaction), std::ptr::null_mut());
    }
}

/// Remembers that this transaction changes the registry.
pub(crate) fn note_registry_change() {
    REGISTRY_CHANGED.set(true);
}

unsafe extern "C-unwind" fn end_of_transaction(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    if event == XACT_EVENT_COMMIT {
        super::transaction::count_commit();
    }
    let Some(at_end) = AT_END.get() else { return };
    let committed = match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => {
            if TOUCHED.get() {
                (at_end.touching)(my_database());
            }
            if RESTORING.get() {
                (at_end.restoring)(my_database());
            }
            return;
        }
        XACT_EVENT_COMMIT | XACT_EVENT_PREPARE => true,
        XACT_EVENT_ABORT => false,
        _ => return,
    };
    RESTORING.set(false);
    if TOUCHED.replace(false) && committed {
        (at_end.touched)(my_database());
    }
    if event == XACT_EVENT_PREPARE {
        return;
    }
    if HOLDING.replace(false) {
        (at_end.release_databases)();
    }
    if REGISTRY_CHANGED.replace(false) && committed {
        (at_end.registry_changed)();
    }
}

unsafe extern "C-unwind" {
    // Past pgrx's binding: an error of a utility statement must pass through this hook as if it were not there.
    #[allow(clippy::too_many_arguments, reason = "PostgreSQL's signature")]
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const std::ffi::c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

#[allow(clippy::too_many_arguments, reason = "the hook's signature")]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are passed on as they came; nothing in this frame needs dropping, so that errors may jump over it.
    unsafe {
        if tag((*statement).utilityStmt) == Some(NodeTag::T_CreatedbStmt) && !EXECUTOR.get() {
            // It may have the name of a tenant's that was dropped, to be restored.
            note_registry_change();
        }
        if is_ours((*statement).utilityStmt) {
            guard(|| before((*statement).utilityStmt, context), |_| String::new());
        }
        if !EXECUTOR.get() || CALLING.get() {
            if super::ddl::makes_state((*statement).utilityStmt) {
                RESTORING.set(true);
            }
            if !TOUCHED.get() && super::ddl::is_ddl((*statement).utilityStmt) {
                guard(|| note_ddl((*statement).utilityStmt), |_: &Failure| String::new());
            }
        }
        let next = PREVIOUS.get().unwrap_or(standard_ProcessUtility);
        next(statement, query, read_only_tree, context, parameters, environment, destination, completion);
    }
}

/// Remembers that this transaction changes what the catalog says, unless it is about temporary objects.
unsafe fn note_ddl(statement: *mut pg_sys::Node) -> Result<(), Failure> {
    // SAFETY: a live node, inside a transaction.
    TOUCHED.set(!unsafe { super::ddl::is_temporary(statement) });
    Ok(())
}

fn my_database() -> u32 {
    // SAFETY: set when the process connects, never changed.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Runs a call in an executor: what it changes of the catalog is no deployment's work.
pub(crate) fn while_calling<T>(f: impl FnOnce() -> T) -> T {
    CALLING.set(true);
    let value = f();
    CALLING.set(false);
    value
}

/// Whether a statement is of a kind that [`before`] looks at: nearly none is, and these go on at once.
unsafe fn is_ours(statement: *mut pg_sys::Node) -> bool {
    use NodeTag::*;
    // SAFETY: a live node.
    matches!(
        unsafe { tag(statement) },
        Some(
            T_DropdbStmt
                | T_DropStmt
                | T_RenameStmt
                | T_AlterDatabaseStmt
                | T_CreatedbStmt
                | T_AlterRoleStmt
                | T_AlterRoleSetStmt
                | T_AlterDatabaseSetStmt
                | T_AlterDatabaseRefreshCollStmt
                | T_GrantStmt
                | T_GrantRoleStmt
                | T_DropOwnedStmt
                | T_ReassignOwnedStmt
                | T_AlterOwnerStmt
                | T_CommentStmt
                | T_SecLabelStmt
        )
    )
}

/// What is done before such a statement.
unsafe fn before(statement: *mut pg_sys::Node, context: pg_sys::ProcessUtilityContext::Type) -> Result<(), Failure> {
    // SAFETY: a live node; plain globals.
    unsafe {
        let is_executor = EXECUTOR.get();
        if is_executor && reaches_out(statement) && !pg_sys::superuser() {
            let failure = Failure::new(
                ErrorCode::QueryFailed,
                "a platform's roles cannot change roles, databases or the settings of sessions to come",
            );
            return Err(Failure { sqlstate: Some("42501".to_owned()), ..failure });
        }
        let Some(holds) = HOLDS.get().filter(|_| !is_executor) else { return Ok(()) };
        if context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL
            && let Some(database) = disturbed_database(statement)
            && may_disturb(&database)
        {
            HOLDING.set(true);
            (holds.database)(&database);
        }
        if drops_us(statement) && may_drop_us() {
            HOLDING.set(true);
            (holds.deployments)();
        }
        Ok(())
    }
}

/// Whether the current user may do to a database what makes us stop its executors: its owner may, and who creates databases may copy a
/// template. Anybody else is about to be refused by PostgreSQL, and must not end others' calls before that.
fn may_disturb(database: &str) -> bool {
    pgrx::Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datname = $1
                        AND (pg_catalog.pg_has_role(current_user, d.datdba, 'USAGE')
                             OR (d.datistemplate AND (SELECT r.rolcreatedb FROM pg_catalog.pg_roles r WHERE r.rolname = current_user))))",
        &[database.into()],
    )
    .is_ok_and(|allowed| allowed == Some(true))
}

/// Whether a statement drops this extension: in a function too, for it needs no transaction of its own.
unsafe fn drops_us(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: casts follow the tag; the names of extensions are strings.
    unsafe {
        if tag(statement) != Some(NodeTag::T_DropStmt) {
            return false;
        }
        let drop = &*statement.cast::<pg_sys::DropStmt>();
        drop.removeType == pg_sys::ObjectType::OBJECT_EXTENSION
            && pointers::<pg_sys::String>(drop.objects)
                .into_iter()
                .any(|name| text((*name).sval).as_deref() == Some("stonescriptdb"))
    }
}

/// As [`may_disturb`]: whoever may not must not end deployments.
fn may_drop_us() -> bool {
    pgrx::Spi::get_one::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension e
                        WHERE e.extname = 'stonescriptdb' AND pg_catalog.pg_has_role(current_user, e.extowner, 'USAGE'))",
    )
    .is_ok_and(|allowed| allowed == Some(true))
}

/// Whether this process is one of our executors.
pub(crate) fn is_executor() -> bool {
    EXECUTOR.get()
}

/// Marks this process as one of our executors.
pub(crate) fn mark_executor() {
    EXECUTOR.set(true);
}

/// Statements by which a session could reach out of its database, or into later ones. PostgreSQL lets every role set its own password and
/// defaults, and grant itself to others (on 15); and whoever owns a database let others in, shut it, and set what its sessions begin with.
/// The databases of all tenants of a platform have one owner.
unsafe fn reaches_out(statement: *mut pg_sys::Node) -> bool {
    use NodeTag::*;
    // SAFETY: casts follow the tag.
    unsafe {
        match tag(statement) {
            Some(
                T_AlterRoleStmt
                | T_AlterRoleSetStmt
                | T_GrantRoleStmt
                | T_AlterDatabaseStmt
                | T_AlterDatabaseSetStmt
                | T_AlterDatabaseRefreshCollStmt
                // They go through what is shared by all databases too.
                | T_DropOwnedStmt
                | T_ReassignOwnedStmt,
            ) => true,
            Some(T_GrantStmt) => is_database((*statement.cast::<pg_sys::GrantStmt>()).objtype),
            Some(T_RenameStmt) => is_database((*statement.cast::<pg_sys::RenameStmt>()).renameType),
            Some(T_AlterOwnerStmt) => is_database((*statement.cast::<pg_sys::AlterOwnerStmt>()).objectType),
            Some(T_CommentStmt) => is_database((*statement.cast::<pg_sys::CommentStmt>()).objtype),
            Some(T_SecLabelStmt) => is_database((*statement.cast::<pg_sys::SecLabelStmt>()).objtype),
            _ => false,
        }
    }
}

fn is_database(kind: pg_sys::ObjectType::Type) -> bool {
    kind == pg_sys::ObjectType::OBJECT_DATABASE
}

/// The database that a statement needs to have to itself: to drop, rename or move it, or to copy it.
unsafe fn disturbed_database(statement: *mut pg_sys::Node) -> Option<String> {
    // SAFETY: casts follow the tag.
    unsafe {
        match tag(statement)? {
            NodeTag::T_DropdbStmt => text((*statement.cast::<pg_sys::DropdbStmt>()).dbname),
            NodeTag::T_RenameStmt => {
                let rename = &*statement.cast::<pg_sys::RenameStmt>();
                (rename.renameType == pg_sys::ObjectType::OBJECT_DATABASE).then(|| text(rename.subname)).flatten()
            }
            NodeTag::T_AlterDatabaseStmt => {
                let alter = &*statement.cast::<pg_sys::AlterDatabaseStmt>();
                option(alter.options, "tablespace").and_then(|_| text(alter.dbname))
            }
            NodeTag::T_CreatedbStmt => {
                let value = option((*statement.cast::<pg_sys::CreatedbStmt>()).options, "template")?;
                (tag(value) == Some(NodeTag::T_String)).then(|| text((*value.cast::<pg_sys::String>()).sval)).flatten()
            }
            _ => None,
        }
    }
}

unsafe fn option(list: *const pg_sys::List, name: &str) -> Option<*mut pg_sys::Node> {
    // SAFETY: a list of DefElem.
    unsafe {
        pointers::<pg_sys::DefElem>(list)
            .into_iter()
            .find(|element| text((**element).defname).as_deref() == Some(name))
            .map(|element| (*element).arg)
    }
}
