//! A schema as statements, in an order in which a server takes them, and as a bundle's files.

use std::collections::BTreeMap;

use super::model::{
    Composite, Condition, Domain, Enum, Name, Parameter, Range, Role, Routine, Schema, Sequence, View, ident,
};
use super::render_table;
use super::types::{BTREE, Type, quote};

/// A statement and the file that it is in.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Below the bundle's root.
    pub path: String,
    /// Without a semicolon.
    pub sql: String,
}

/// What is collected while a schema is written out.
#[derive(Default)]
pub(super) struct Pieces(Vec<Piece>);

impl Pieces {
    pub(super) fn add(&mut self, path: &str, sql: String) {
        self.0.push(Piece { path: path.to_owned(), sql });
    }

    pub(super) fn comment(&mut self, path: &str, on: &str, comment: &Option<String>) {
        if let Some(comment) = comment {
            self.add(path, format!("COMMENT ON {on} IS {}", quote(comment)));
        }
    }
}

impl Schema {
    /// All statements in an order in which each finds what it needs.
    pub fn pieces(&self) -> Vec<Piece> {
        let mut out = Pieces::default();
        for space in &self.namespaces {
            let path = path("types", &Name { schema: String::new(), name: space.name.clone() });
            out.add(&path, format!("CREATE SCHEMA {}", ident(&space.name)));
            if space.granted {
                out.add(&path, format!("GRANT USAGE ON SCHEMA {} TO PUBLIC", ident(&space.name)));
            }
            out.comment(&path, &format!("SCHEMA {}", ident(&space.name)), &space.comment);
        }
        self.enums.iter().for_each(|e| render_enum(e, &mut out));
        self.composites.iter().for_each(|c| render_composite(c, &mut out));
        self.domains.iter().for_each(|d| self.render_domain(d, &mut out));
        self.ranges.iter().for_each(|r| render_range(r, &mut out));
        let (late, early): (Vec<&Routine>, Vec<&Routine>) =
            self.routines.iter().partition(|r| matches!(r.role, Role::Atomic | Role::SetOf | Role::Rows));
        early.into_iter().for_each(|r| self.render_routine(r, &mut out));
        self.sequences.iter().for_each(|s| render_sequence(s, &mut out));
        render_table::tables(self, &mut out);
        for sequence in &self.sequences {
            if let Some((table, column)) = &sequence.owned_by {
                let sql = format!("ALTER SEQUENCE {} OWNED BY {}.{}", sequence.name.sql(), table.sql(), ident(column));
                out.add(&path("tables", table), sql);
            }
        }
        self.views.iter().for_each(|v| self.render_view(v, &mut out));
        late.into_iter().for_each(|r| self.render_routine(r, &mut out));
        out.0
    }

    /// All statements as one text.
    pub fn script(&self) -> String {
        self.pieces().iter().map(|piece| format!("{};\n", piece.sql)).collect()
    }

    /// The files of a bundle. Their names say nothing of the order that their statements need.
    pub fn files(&self) -> BTreeMap<String, String> {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for piece in self.pieces() {
            let file = files.entry(piece.path).or_default();
            file.push_str(&piece.sql);
            file.push_str(";\n");
        }
        files
    }

    fn render_domain(&self, domain: &Domain, out: &mut Pieces) {
        let path = path("types", &domain.name);
        let mut sql = format!("CREATE DOMAIN {} AS {}", domain.name.sql(), domain.base.sql());
        if let Some(default) = domain.default {
            sql.push_str(&format!(" DEFAULT {}", domain.base.literal(self, default)));
        }
        if domain.not_null {
            sql.push_str(" NOT NULL");
        }
        if let Some(check) = domain.check {
            if let Some(name) = &domain.check_name {
                sql.push_str(&format!(" CONSTRAINT {}", ident(name)));
            }
            let condition = match domain.base.can(self) & BTREE {
                0 => "VALUE IS NULL OR VALUE IS NOT NULL".to_owned(),
                _ => format!("VALUE IS DISTINCT FROM {} OR VALUE IS NULL", domain.base.literal(self, 2 + check * 3)),
            };
            sql.push_str(&format!(" CHECK ({condition})"));
        }
        out.add(&path, sql);
        out.comment(&path, &format!("DOMAIN {}", domain.name.sql()), &domain.comment);
    }

    fn render_view(&self, view: &View, out: &mut Pieces) {
        let path = path("views", &view.name);
        let source = self.relation(&view.source);
        let list = if view.star {
            "*".to_owned()
        } else {
            let columns = view.columns.iter().filter_map(|column| {
                let (_, of) = source.iter().find(|(name, _)| *name == column.of)?;
                let expression = shaped(of, column.shape, &format!("s.{}", ident(&column.of)), self).0;
                Some(format!("{expression} AS {}", ident(&column.name)))
            });
            columns.collect::<Vec<_>>().join(", ")
        };
        let list = if list.is_empty() { "1 AS one".to_owned() } else { list };
        let options =
            if view.options.is_empty() { String::new() } else { format!(" WITH ({})", view.options.join(", ")) };
        let kind = if view.materialized { "MATERIALIZED VIEW" } else { "VIEW" };
        let mut sql =
            format!("CREATE {kind} {}{options} AS SELECT {list} FROM {} s", view.name.sql(), view.source.sql());
        if let Some(condition) = &view.condition {
            sql.push_str(&format!(" WHERE {}", self.condition(condition, &source, "s.")));
        }
        out.add(&path, sql);
        render_table::indexes(self, &view.name, &view.indexes, &self.relation(&view.name), &path, out);
        if let Some(function) = &view.trigger {
            let sql = format!(
                "CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION {}()",
                view.name.sql(),
                function.sql()
            );
            out.add(&path, sql);
        }
        for grant in &view.grants {
            out.add(&path, format!("GRANT {grant} ON {} TO PUBLIC", view.name.sql()));
        }
        out.comment(&path, &format!("{kind} {}", view.name.sql()), &view.comment);
    }

    fn parameters(&self, parameters: &[Parameter], defaults: bool) -> String {
        let mut must_default = false;
        let texts = parameters.iter().map(|parameter| {
            let mut text = if parameter.out { "OUT ".to_owned() } else { "IN ".to_owned() };
            if let Some(name) = parameter.name.as_ref().filter(|_| defaults) {
                text.push_str(&format!("{} ", ident(name)));
            }
            text.push_str(&parameter.data_type.sql());
            must_default |= parameter.default.is_some();
            if defaults && must_default && !parameter.out {
                let value = parameter.data_type.literal(self, parameter.default.unwrap_or(0));
                text.push_str(&format!(" DEFAULT {value}"));
            }
            text
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    fn render_routine(&self, routine: &Routine, out: &mut Pieces) {
        let path = path("functions", &routine.name);
        let name = routine.name.sql();
        let arguments = self.parameters(&routine.parameters, true);
        let identity = match routine.role {
            Role::Aggregate => routine.parameters.iter().map(|p| p.data_type.sql()).collect::<Vec<_>>().join(", "),
            _ => self.parameters(&routine.parameters, false),
        };
        let options = routine.options.iter().map(|option| format!(" {option}")).collect::<String>();
        let returns = routine.returns.sql();
        let value = routine.returns.literal(self, routine.body);
        let target = routine.target.as_ref();
        let from = target.map(|(name, _)| name.sql()).unwrap_or_default();
        let column = target.map(|(_, column)| ident(column)).unwrap_or_default();
        let sql = match routine.role {
            Role::Maker | Role::General => {
                let outs: Vec<&Parameter> = routine.parameters.iter().filter(|p| p.out).collect();
                let values =
                    outs.iter().map(|p| p.data_type.literal(self, routine.body)).collect::<Vec<_>>().join(", ");
                let returns = if outs.is_empty() { format!(" RETURNS {returns}") } else { String::new() };
                let body = match (routine.plpgsql, outs.is_empty()) {
                    (true, true) => format!("LANGUAGE plpgsql AS $body$ BEGIN RETURN {value}; END $body$"),
                    (true, false) => format!("LANGUAGE plpgsql AS $body$ BEGIN PERFORM {}; END $body$", routine.body),
                    (false, true) => format!("LANGUAGE sql AS $body$ SELECT {value} $body$"),
                    (false, false) => format!("LANGUAGE sql AS $body$ SELECT {values} $body$"),
                };
                format!("CREATE FUNCTION {name}({arguments}){returns}{options} {body}")
            }
            Role::Predicate => format!(
                "CREATE FUNCTION {name}({arguments}) RETURNS boolean IMMUTABLE{options} LANGUAGE sql AS $$ SELECT $1 IS NOT NULL OR {} > 0 $$",
                routine.body
            ),
            Role::Key => format!(
                "CREATE FUNCTION {name}({arguments}) RETURNS text IMMUTABLE{options} LANGUAGE sql AS $$ SELECT 'k{}' || ($1 IS NULL)::text $$",
                routine.body
            ),
            Role::Trigger => format!(
                "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql{options} AS $$ BEGIN PERFORM {}; RETURN coalesce(NEW, OLD); END $$",
                routine.body
            ),
            Role::Procedure => format!(
                "CREATE PROCEDURE {name}({arguments}) LANGUAGE plpgsql AS $$ BEGIN PERFORM {}; END $$",
                routine.body
            ),
            Role::Aggregate => {
                let of = routine.parameters.first().map(|p| p.data_type.sql()).unwrap_or_default();
                let function = match &*of {
                    "integer" => "int4larger",
                    "bigint" => "int8larger",
                    "numeric" => "numeric_add",
                    _ => "text_larger",
                };
                let init = match routine.body % 3 {
                    0 => String::new(),
                    n => format!(", INITCOND = '{n}'"),
                };
                format!("CREATE AGGREGATE {name}({identity}) (SFUNC = {function}, STYPE = {of}{init})")
            }
            Role::Atomic => format!(
                "CREATE FUNCTION {name}({arguments}) RETURNS bigint{options} LANGUAGE sql BEGIN ATOMIC SELECT count(*) + {} FROM {from} WHERE {column} IS NOT NULL; END",
                routine.body
            ),
            Role::SetOf => format!(
                "CREATE FUNCTION {name}({arguments}) RETURNS SETOF {from}{options} LANGUAGE sql AS $$ SELECT * FROM {from} LIMIT {} $$",
                routine.body
            ),
            Role::Rows => format!(
                "CREATE FUNCTION {name}({arguments}) RETURNS TABLE (r0 {returns}, r1 int){options} LANGUAGE sql AS $$ SELECT {column}, {} FROM {from} $$",
                routine.body
            ),
        };
        out.add(&path, sql);
        if routine.revoked {
            out.add(&path, format!("REVOKE ALL ON ROUTINE {name}({identity}) FROM PUBLIC"));
        }
        out.comment(&path, &format!("ROUTINE {name}({identity})"), &routine.comment);
    }

    /// A condition on a column, given the columns that there are; `prefix` stands before its name.
    pub(super) fn condition(&self, condition: &Condition, columns: &[(String, Type)], prefix: &str) -> String {
        let c = format!("{prefix}{}", ident(&condition.column));
        let Some((_, of)) = columns.iter().find(|(name, _)| *name == condition.column) else {
            return "true".to_owned();
        };
        if let Some(predicate) = &condition.predicate {
            return format!("{}({c})", predicate.sql());
        }
        let compares = of.can(self) & BTREE != 0;
        let n = condition.sample;
        match condition.shape {
            1 if compares => format!("{c} <> {}", of.literal(self, 2)),
            2 if compares => format!("{c} IS NULL OR {c} >= {}", of.literal(self, n)),
            3 if of.is_text() => format!("length({c}) < {}", 100 + u32::from(n)),
            3 if of.is_integer() => format!("{c} > -{} AND {c} < 30000", 10 + u32::from(n)),
            4 if of.is_text() && n.is_multiple_of(2) => format!("{c} IN ('', 'b', 'it''s', 'z{n}')"),
            4 if compares => format!("{c} IN ({}, {})", of.literal(self, 0), of.literal(self, 1)),
            5 if of.is_text() => format!("{c} ~ '^[a-z'']*$' OR {c} LIKE 'a%{n}'"),
            5 if of.is(&["date", "timestamp with time zone"]) => format!("{c} > '20{}-01-01'", 10 + n % 10),
            6 => format!(
                "CASE WHEN {c} IS NULL THEN {} ELSE true END",
                if n.is_multiple_of(2) { "false" } else { "true" }
            ),
            7 => format!("NOT ({c} IS NULL AND {n} > 1)"),
            _ => format!("{c} IS NOT NULL"),
        }
    }
}

/// An expression over a column and its type.
pub(super) fn shaped(of: &Type, shape: u8, column: &str, schema: &Schema) -> (String, Type) {
    match shape {
        1 => (format!("{column} IS NULL"), Type::builtin("boolean")),
        2 => (format!("{column}::text"), Type::builtin("text")),
        3 => (format!("coalesce({column}, {})", of.literal(schema, 1)), of.clone()),
        _ => (column.to_owned(), of.clone()),
    }
}

fn render_enum(e: &Enum, out: &mut Pieces) {
    let path = path("types", &e.name);
    let labels: Vec<String> = e.labels.iter().map(|label| quote(label)).collect();
    out.add(&path, format!("CREATE TYPE {} AS ENUM ({})", e.name.sql(), labels.join(", ")));
    if e.revoked {
        out.add(&path, format!("REVOKE ALL ON TYPE {} FROM PUBLIC", e.name.sql()));
    }
    out.comment(&path, &format!("TYPE {}", e.name.sql()), &e.comment);
}

fn render_composite(composite: &Composite, out: &mut Pieces) {
    let path = path("types", &composite.name);
    let attributes: Vec<String> =
        composite.attributes.iter().map(|a| format!("{} {}", ident(&a.name), a.data_type.sql())).collect();
    out.add(&path, format!("CREATE TYPE {} AS ({})", composite.name.sql(), attributes.join(", ")));
    out.comment(&path, &format!("TYPE {}", composite.name.sql()), &composite.comment);
}

fn render_range(range: &Range, out: &mut Pieces) {
    let path = path("types", &range.name);
    out.add(&path, format!("CREATE TYPE {} AS RANGE (subtype = {})", range.name.sql(), range.subtype));
    out.comment(&path, &format!("TYPE {}", range.name.sql()), &range.comment);
}

fn render_sequence(sequence: &Sequence, out: &mut Pieces) {
    let path = path("tables", &sequence.name);
    let mut sql = format!("CREATE SEQUENCE {}", sequence.name.sql());
    if let Some(data_type) = &sequence.data_type {
        sql.push_str(&format!(" AS {data_type}"));
    }
    for option in &sequence.options {
        sql.push_str(&format!(" {option}"));
    }
    out.add(&path, sql);
    if sequence.granted {
        out.add(&path, format!("GRANT USAGE, SELECT ON SEQUENCE {} TO PUBLIC", sequence.name.sql()));
    }
    out.comment(&path, &format!("SEQUENCE {}", sequence.name.sql()), &sequence.comment);
}

/// The file of an object: its name begins with something that has nothing to do with when the object can be made.
pub(super) fn path(kind: &str, name: &Name) -> String {
    let hash =
        name.name.bytes().chain(name.schema.bytes()).fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
    let plain: String = format!("{}_{}", name.schema, name.name)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    format!("{kind}/{:02x}_{plain}.sql", hash.wrapping_mul(2_654_435_761) >> 24)
}
