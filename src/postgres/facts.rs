//! What a statement makes and needs, read off its raw parse tree.
//!
//! Expressions and queries are walked by PostgreSQL's own `raw_expression_tree_walker`; it does not know DDL statements, so those are
//! taken apart here. A reference that is missed here costs nothing where the natural order is right already.

use std::collections::HashSet;
use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use stonescriptdb_schema::{Class, Facts, ObjectName};

use super::error::{catch, text};
use super::nodes::{names, pointers, tag};
use super::version::raw_expression_tree_walker;

/// Facts of one statement.
///
/// # Safety
/// `statement` must be a live raw parse tree.
pub(super) unsafe fn facts(statement: *mut pg_sys::Node) -> Facts {
    let mut facts = Facts::default();
    // SAFETY: as promised; raw trees are well-formed where the grammar made them.
    unsafe { Reader { facts: &mut facts }.statement(statement) };
    // A CREATE SCHEMA may make as much as a file can hold.
    let provided: HashSet<&ObjectName> = facts.provides.iter().collect();
    facts.needs.retain(|need| !provided.contains(need));
    let schemas: Vec<ObjectName> = facts
        .needs
        .iter()
        .chain(&facts.provides)
        .filter(|name| name.class != Class::Schema)
        .map(|name| ObjectName { class: Class::Schema, schema: String::new(), name: name.schema.clone() })
        .collect();
    facts.needs.extend(schemas);
    facts
}

/// A relation's name.
///
/// # Safety
/// `relation` must be null or a live RangeVar.
pub(super) unsafe fn relation_name(relation: *const pg_sys::RangeVar) -> Option<ObjectName> {
    if relation.is_null() {
        return None;
    }
    // SAFETY: its strings are null or end in a zero.
    unsafe { Some(ObjectName::new(Class::Relation, text((*relation).schemaname), text((*relation).relname)?)) }
}

/// A name from the parts that the grammar keeps in a list.
///
/// # Safety
/// `list` must be null or a list of String nodes.
pub(super) unsafe fn qualified(class: Class, list: *const pg_sys::List) -> Option<ObjectName> {
    // SAFETY: the caller's promise.
    let mut parts = unsafe { names(list) };
    let name = parts.pop()?;
    Some(ObjectName::new(class, parts.pop(), name))
}

struct Reader<'a> {
    facts: &'a mut Facts,
}

impl Reader<'_> {
    fn provide(&mut self, name: Option<ObjectName>) {
        self.facts.provides.extend(name);
    }

    fn need(&mut self, name: Option<ObjectName>) {
        self.facts.needs.extend(name);
    }

    unsafe fn expression(&mut self, node: *mut pg_sys::Node) {
        if node.is_null() {
            return;
        }
        let context = std::ptr::from_mut(self).cast();
        // The walker raises on trees too deep for the stack and on nodes it does not know. It changes nothing, so there is nothing to
        // roll back; what it did not reach is in no one's way but that the natural order decides.
        // SAFETY: `visit` gets this reader back as its context and nothing else uses it meanwhile; no frame of `visit` owns anything
        // while it is below the walker.
        let _ = catch(|| unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                visit(node, context);
            });
        });
    }

    unsafe fn expressions(&mut self, list: *const pg_sys::List) {
        // SAFETY: the caller's promise that the list holds raw nodes.
        unsafe { pointers::<pg_sys::Node>(list).into_iter().for_each(|node| self.expression(node)) }
    }

    unsafe fn statement(&mut self, node: *mut pg_sys::Node) {
        // SAFETY: every cast below follows the node's tag.
        unsafe {
            match tag(node) {
                Some(NodeTag::T_CreateStmt) => self.create_table(&*node.cast()),
                Some(NodeTag::T_CreateForeignTableStmt) => {
                    self.create_table(&(*node.cast::<pg_sys::CreateForeignTableStmt>()).base);
                }
                Some(NodeTag::T_ViewStmt) => {
                    let view = &*node.cast::<pg_sys::ViewStmt>();
                    self.provide(relation_name(view.view));
                    self.expression(view.query);
                }
                Some(NodeTag::T_CreateTableAsStmt) => {
                    let create = &*node.cast::<pg_sys::CreateTableAsStmt>();
                    self.provide(relation_name((*create.into).rel));
                    self.expression(create.query);
                }
                Some(NodeTag::T_CreateFunctionStmt) => self.create_function(&*node.cast()),
                Some(NodeTag::T_DefineStmt) => self.define(&*node.cast()),
                Some(NodeTag::T_IndexStmt) => {
                    let index = &*node.cast::<pg_sys::IndexStmt>();
                    self.touch(index.relation);
                    if let (Some(on), Some(name)) = (relation_name(index.relation), text(index.idxname)) {
                        self.provide(Some(ObjectName { name, ..on }));
                    }
                    for element in pointers::<pg_sys::IndexElem>(index.indexParams) {
                        self.expression((*element).expr);
                    }
                    self.expression(index.whereClause);
                }
                Some(NodeTag::T_AlterTableStmt) => {
                    let alter = &*node.cast::<pg_sys::AlterTableStmt>();
                    self.touch(alter.relation);
                    for command in pointers::<pg_sys::AlterTableCmd>(alter.cmds) {
                        self.definition((*command).def, false);
                    }
                }
                Some(NodeTag::T_CreateTrigStmt) => {
                    let trigger = &*node.cast::<pg_sys::CreateTrigStmt>();
                    self.need(relation_name(trigger.relation));
                    self.need(relation_name(trigger.constrrel));
                    self.need(qualified(Class::Function, trigger.funcname));
                    self.expression(trigger.whenClause);
                }
                Some(NodeTag::T_CreatePolicyStmt) => {
                    let policy = &*node.cast::<pg_sys::CreatePolicyStmt>();
                    self.need(relation_name(policy.table));
                    self.expression(policy.qual);
                    self.expression(policy.with_check);
                }
                Some(NodeTag::T_RuleStmt) => {
                    let rule = &*node.cast::<pg_sys::RuleStmt>();
                    self.need(relation_name(rule.relation));
                    self.expression(rule.whereClause);
                    self.expressions(rule.actions);
                }
                Some(NodeTag::T_CompositeTypeStmt) => {
                    let composite = &*node.cast::<pg_sys::CompositeTypeStmt>();
                    let name = relation_name(composite.typevar);
                    self.provide(name.clone().map(|name| ObjectName { class: Class::Type, ..name }));
                    for column in pointers::<pg_sys::Node>(composite.coldeflist) {
                        self.definition(column, true);
                    }
                }
                Some(NodeTag::T_CreateEnumStmt) => {
                    self.provide(qualified(Class::Type, (*node.cast::<pg_sys::CreateEnumStmt>()).typeName));
                }
                Some(NodeTag::T_CreateRangeStmt) => {
                    let range = &*node.cast::<pg_sys::CreateRangeStmt>();
                    self.provide(qualified(Class::Type, range.typeName));
                    self.options(range.params);
                }
                Some(NodeTag::T_CreateDomainStmt) => {
                    let domain = &*node.cast::<pg_sys::CreateDomainStmt>();
                    self.provide(qualified(Class::Type, domain.domainname));
                    self.expression(domain.typeName.cast());
                    for constraint in pointers::<pg_sys::Node>(domain.constraints) {
                        self.definition(constraint, true);
                    }
                }
                Some(NodeTag::T_AlterDomainStmt) => {
                    let domain = &*node.cast::<pg_sys::AlterDomainStmt>();
                    self.need(qualified(Class::Type, domain.typeName));
                    self.definition(domain.def, false);
                }
                Some(NodeTag::T_CreateSeqStmt) => {
                    let sequence = &*node.cast::<pg_sys::CreateSeqStmt>();
                    self.provide(relation_name(sequence.sequence));
                    self.owned_by(sequence.options);
                }
                Some(NodeTag::T_AlterSeqStmt) => {
                    let sequence = &*node.cast::<pg_sys::AlterSeqStmt>();
                    self.need(relation_name(sequence.sequence));
                    self.owned_by(sequence.options);
                }
                Some(NodeTag::T_CreateSchemaStmt) => {
                    let schema = &*node.cast::<pg_sys::CreateSchemaStmt>();
                    if let Some(name) = text(schema.schemaname) {
                        self.provide(Some(ObjectName { class: Class::Schema, schema: String::new(), name }));
                    }
                    pointers::<pg_sys::Node>(schema.schemaElts).into_iter().for_each(|element| self.statement(element));
                }
                Some(NodeTag::T_CommentStmt) => self.wish((*node.cast::<pg_sys::CommentStmt>()).object),
                Some(
                    NodeTag::T_SelectStmt
                    | NodeTag::T_InsertStmt
                    | NodeTag::T_UpdateStmt
                    | NodeTag::T_DeleteStmt
                    | NodeTag::T_MergeStmt,
                ) => self.expression(node),
                _ => {}
            }
        }
    }

    /// A need for a table that the statement changes.
    unsafe fn touch(&mut self, relation: *const pg_sys::RangeVar) {
        // SAFETY: the caller's promise.
        let name = unsafe { relation_name(relation) };
        self.facts.touches = name.clone();
        self.need(name);
    }

    unsafe fn create_table(&mut self, table: &pg_sys::CreateStmt) {
        // SAFETY: members of a raw CreateStmt.
        unsafe {
            self.provide(relation_name(table.relation));
            pointers::<pg_sys::Node>(table.tableElts).into_iter().for_each(|element| self.definition(element, true));
            pointers::<pg_sys::Node>(table.constraints).into_iter().for_each(|element| self.definition(element, true));
            for parent in pointers::<pg_sys::RangeVar>(table.inhRelations) {
                self.need(relation_name(parent));
            }
            self.expression(table.ofTypename.cast());
            if !table.partspec.is_null() {
                for part in pointers::<pg_sys::PartitionElem>((*table.partspec).partParams) {
                    self.expression((*part).expr);
                }
            }
        }
    }

    /// A column, a constraint or LIKE. `in_create`: foreign keys may be added later.
    unsafe fn definition(&mut self, node: *mut pg_sys::Node, in_create: bool) {
        // SAFETY: every cast follows the tag.
        unsafe {
            match tag(node) {
                Some(NodeTag::T_ColumnDef) => {
                    let column = &*node.cast::<pg_sys::ColumnDef>();
                    self.expression(column.typeName.cast());
                    self.expression(column.raw_default);
                    for constraint in pointers::<pg_sys::Node>(column.constraints) {
                        self.definition(constraint, in_create);
                    }
                }
                Some(NodeTag::T_Constraint) => {
                    let constraint = &*node.cast::<pg_sys::Constraint>();
                    self.expression(constraint.raw_expr);
                    self.expression(constraint.where_clause);
                    if constraint.contype == pg_sys::ConstrType::CONSTR_FOREIGN {
                        let table = relation_name(constraint.pktable);
                        if in_create { self.facts.foreign.extend(table) } else { self.need(table) }
                    }
                }
                Some(NodeTag::T_TableLikeClause) => {
                    self.need(relation_name((*node.cast::<pg_sys::TableLikeClause>()).relation))
                }
                Some(NodeTag::T_PartitionCmd) => self.need(relation_name((*node.cast::<pg_sys::PartitionCmd>()).name)),
                Some(NodeTag::T_RangeVar) => self.need(relation_name(node.cast())),
                Some(NodeTag::T_List | NodeTag::T_DefElem) | None => {}
                // SET DEFAULT and its like: a bare expression.
                _ => self.expression(node),
            }
        }
    }

    unsafe fn create_function(&mut self, function: &pg_sys::CreateFunctionStmt) {
        // SAFETY: members of a raw CreateFunctionStmt.
        unsafe {
            self.provide(qualified(Class::Function, function.funcname));
            for parameter in pointers::<pg_sys::FunctionParameter>(function.parameters) {
                self.expression((*parameter).argType.cast());
                self.expression((*parameter).defexpr);
            }
            self.expression(function.returnType.cast());
            self.expression(function.sql_body);
        }
    }

    /// CREATE AGGREGATE, OPERATOR, TYPE: what is behind the equals signs parses as type names, functions too.
    unsafe fn define(&mut self, define: &pg_sys::DefineStmt) {
        // SAFETY: members of a raw DefineStmt.
        unsafe {
            match define.kind {
                pg_sys::ObjectType::OBJECT_AGGREGATE => self.provide(qualified(Class::Function, define.defnames)),
                pg_sys::ObjectType::OBJECT_TYPE => self.provide(qualified(Class::Type, define.defnames)),
                _ => {}
            }
            self.options(define.definition);
        }
    }

    unsafe fn options(&mut self, list: *const pg_sys::List) {
        // SAFETY: a list of DefElem.
        unsafe {
            for option in pointers::<pg_sys::DefElem>(list) {
                if tag((*option).arg) == Some(NodeTag::T_TypeName) {
                    let parts = (*(*option).arg.cast::<pg_sys::TypeName>()).names;
                    self.need(qualified(Class::Type, parts));
                    self.need(qualified(Class::Function, parts));
                }
            }
        }
    }

    /// `OWNED BY table.column` of a sequence.
    unsafe fn owned_by(&mut self, options: *const pg_sys::List) {
        // SAFETY: a list of DefElem; owned_by has a list of names.
        unsafe {
            for option in pointers::<pg_sys::DefElem>(options) {
                if text((*option).defname).as_deref() == Some("owned_by") && tag((*option).arg) == Some(NodeTag::T_List)
                {
                    let mut parts = names((*option).arg.cast());
                    parts.pop();
                    if let Some(table) = parts.pop() {
                        self.need(Some(ObjectName::new(Class::Relation, parts.pop(), table)));
                    }
                }
            }
        }
    }

    /// The object of a COMMENT: whatever of this name there is.
    unsafe fn wish(&mut self, object: *mut pg_sys::Node) {
        // SAFETY: every cast follows the tag.
        unsafe {
            let parts = match tag(object) {
                Some(NodeTag::T_List) => names(object.cast()),
                Some(NodeTag::T_TypeName) => names((*object.cast::<pg_sys::TypeName>()).names),
                Some(NodeTag::T_ObjectWithArgs) => names((*object.cast::<pg_sys::ObjectWithArgs>()).objname),
                _ => Vec::new(),
            };
            for (index, part) in parts.iter().enumerate() {
                let schema = index.checked_sub(1).and_then(|before| parts.get(before)).cloned();
                for class in [Class::Relation, Class::Type, Class::Function] {
                    for schema in [None, schema.clone()] {
                        self.facts.prefers.push(ObjectName::new(class, schema, part.clone()));
                    }
                }
            }
        }
    }
}

/// The walker's callback: notes relations, types and functions, and goes on below.
unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the context is the Reader that `expression` passed; casts follow the tag.
    unsafe {
        let reader = &mut *context.cast::<Reader>();
        match tag(node) {
            Some(NodeTag::T_RangeVar) => reader.need(relation_name(node.cast())),
            Some(NodeTag::T_TypeName) => {
                let name = &*node.cast::<pg_sys::TypeName>();
                if name.pct_type {
                    let mut parts = names(name.names);
                    parts.pop();
                    if let Some(table) = parts.pop() {
                        reader.need(Some(ObjectName::new(Class::Relation, parts.pop(), table)));
                    }
                } else {
                    reader.need(qualified(Class::Type, name.names));
                }
            }
            Some(NodeTag::T_FuncCall) => {
                reader.need(qualified(Class::Function, (*node.cast::<pg_sys::FuncCall>()).funcname))
            }
            // nextval('orders_id_seq'): a name in a string.
            Some(NodeTag::T_A_Const) => {
                let constant = &*node.cast::<pg_sys::A_Const>();
                if !constant.isnull
                    && constant.val.node.type_ == NodeTag::T_String
                    && let Some(value) = text(constant.val.sval.sval)
                {
                    reader.facts.prefers.extend(ObjectName::from_text(Class::Relation, &value));
                }
                return false;
            }
            Some(NodeTag::T_ReturnStmt) => return visit((*node.cast::<pg_sys::ReturnStmt>()).returnval, context),
            // These hold no expressions of their own, and the server's walker does not know all of them.
            Some(NodeTag::T_NotifyStmt) => return false,
            _ => {}
        }
        raw_expression_tree_walker(node, visit, context)
    }
}
