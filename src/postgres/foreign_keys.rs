//! Taking foreign keys out of a CREATE TABLE, for tables that refer to each other.

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use stonescriptdb_schema::ObjectName;

use super::facts::relation_name;
use super::nodes::{make, pointers, tag};
use super::version::enforce;

/// Removes the foreign keys to missing tables from a raw CREATE TABLE and gives each as a raw ALTER TABLE … ADD. What is not a CREATE
/// TABLE has none.
///
/// # Safety
/// `node` must be a live raw parse tree that may be changed.
pub(super) unsafe fn split(
    node: *mut pg_sys::Node,
    is_missing: &dyn Fn(&ObjectName) -> bool,
) -> Vec<*mut pg_sys::Node> {
    // SAFETY: casts follow the tags; lists and nodes are palloc'd in the current context.
    unsafe {
        if tag(node) != Some(NodeTag::T_CreateStmt) {
            return Vec::new();
        }
        let create = node.cast::<pg_sys::CreateStmt>();
        let mut taken = Vec::new();
        let mut elements = std::ptr::null_mut();
        for element in pointers::<pg_sys::Node>((*create).tableElts) {
            if is_key_to(element, is_missing) {
                taken.push(element.cast::<pg_sys::Constraint>());
                continue;
            }
            if tag(element) == Some(NodeTag::T_ColumnDef) {
                take_from_column(element.cast(), is_missing, &mut taken);
            }
            elements = pg_sys::lappend(elements, element.cast());
        }
        (*create).tableElts = elements;
        taken.into_iter().map(|key| add_constraint((*create).relation, key)).collect()
    }
}

unsafe fn is_key_to(node: *mut pg_sys::Node, is_missing: &dyn Fn(&ObjectName) -> bool) -> bool {
    // SAFETY: the cast follows the tag.
    unsafe {
        if tag(node) != Some(NodeTag::T_Constraint) {
            return false;
        }
        let constraint = node.cast::<pg_sys::Constraint>();
        (*constraint).contype == pg_sys::ConstrType::CONSTR_FOREIGN
            && relation_name((*constraint).pktable).is_some_and(|table| is_missing(&table))
    }
}

/// A column's own foreign key names no column: it gets the one it stands at. Its DEFERRABLE stands behind it in the list
/// (parse_utilcmd.c, transformConstraintAttrs).
unsafe fn take_from_column(
    column: *mut pg_sys::ColumnDef,
    is_missing: &dyn Fn(&ObjectName) -> bool,
    taken: &mut Vec<*mut pg_sys::Constraint>,
) {
    // SAFETY: a live ColumnDef whose constraints are Constraint nodes.
    unsafe {
        let mut kept = std::ptr::null_mut();
        let mut last_taken: *mut pg_sys::Constraint = std::ptr::null_mut();
        for constraint in pointers::<pg_sys::Constraint>((*column).constraints) {
            use pg_sys::ConstrType as C;
            let kind = (*constraint).contype;
            if is_key_to(constraint.cast(), is_missing) {
                let name = pg_sys::makeString((*column).colname);
                (*constraint).fk_attrs = pg_sys::lappend(std::ptr::null_mut(), name.cast());
                taken.push(constraint);
                last_taken = constraint;
                continue;
            }
            if !last_taken.is_null() {
                match kind {
                    C::CONSTR_ATTR_DEFERRABLE => (*last_taken).deferrable = true,
                    C::CONSTR_ATTR_NOT_DEFERRABLE => (*last_taken).deferrable = false,
                    C::CONSTR_ATTR_DEFERRED => {
                        (*last_taken).deferrable = true;
                        (*last_taken).initdeferred = true;
                    }
                    C::CONSTR_ATTR_IMMEDIATE => (*last_taken).initdeferred = false,
                    _ if enforce(last_taken, kind) => {}
                    _ => last_taken = std::ptr::null_mut(),
                }
                if !last_taken.is_null() {
                    continue;
                }
            }
            kept = pg_sys::lappend(kept, constraint.cast());
        }
        (*column).constraints = kept;
    }
}

unsafe fn add_constraint(relation: *mut pg_sys::RangeVar, key: *mut pg_sys::Constraint) -> *mut pg_sys::Node {
    // SAFETY: the caller's promise.
    unsafe { alter_table(relation, pg_sys::AlterTableType::AT_AddConstraint, key.cast()) }
}

/// An ALTER TABLE with one command, as the grammar builds it.
///
/// # Safety
/// `relation` and `definition` must be live raw nodes; the relation is copied.
pub(super) unsafe fn alter_table(
    relation: *mut pg_sys::RangeVar,
    command_type: pg_sys::AlterTableType::Type,
    definition: *mut pg_sys::Node,
) -> *mut pg_sys::Node {
    // SAFETY: the caller's promise.
    unsafe {
        let command: *mut pg_sys::AlterTableCmd = make(NodeTag::T_AlterTableCmd);
        (*command).subtype = command_type;
        (*command).def = definition;
        (*command).behavior = pg_sys::DropBehavior::DROP_RESTRICT;
        let alter: *mut pg_sys::AlterTableStmt = make(NodeTag::T_AlterTableStmt);
        (*alter).relation = pg_sys::copyObjectImpl(relation.cast()).cast();
        (*alter).cmds = pg_sys::lappend(std::ptr::null_mut(), command.cast());
        (*alter).objtype = pg_sys::ObjectType::OBJECT_TABLE;
        alter.cast()
    }
}
