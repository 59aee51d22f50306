//! What one statement makes, and what it needs to be there.

/// The kinds of names that PostgreSQL keeps apart, as far as the order of creation cares. Tables, views, sequences and indexes share
/// one name space; a table's row type is found by the table's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Class {
    /// A schema.
    Schema,
    /// A table, view, materialized view, sequence, index or foreign table.
    Relation,
    /// An enum, domain, range, composite or base type.
    Type,
    /// A function, procedure or aggregate, whatever its arguments.
    Function,
}

/// The schema in which an unqualified name is made, and where it is looked for.
const DEFAULT_SCHEMA: &str = "public";

/// A name as a statement writes it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectName {
    /// What kind of thing it names.
    pub class: Class,
    /// The schema, as written; `public` when it is not.
    pub schema: String,
    /// The name, folded as PostgreSQL folds it.
    pub name: String,
}

impl ObjectName {
    /// A name, perhaps with a schema.
    pub fn new(class: Class, schema: Option<String>, name: String) -> ObjectName {
        ObjectName { class, schema: schema.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()), name }
    }

    /// A name as it stands in a string, for regclass and the like: folded where it is not quoted, perhaps with a schema. None for what is
    /// no name.
    pub fn from_text(class: Class, text: &str) -> Option<ObjectName> {
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (part, behind) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let mut name = String::new();
                    let mut characters = quoted.char_indices().peekable();
                    let end = loop {
                        match characters.next()? {
                            (_, '"') if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                                characters.next();
                                name.push('"');
                            }
                            (at, '"') => break at + 1,
                            (_, other) => name.push(other),
                        }
                    };
                    (name, quoted.get(end..)?)
                }
                None => {
                    let end = rest.find('.').unwrap_or(rest.len());
                    (rest.get(..end)?.to_lowercase(), rest.get(end..)?)
                }
            };
            parts.push(part);
            match behind.strip_prefix('.') {
                Some(next) => rest = next,
                None if behind.is_empty() => break,
                None => return None,
            }
        }
        let name = parts.pop().filter(|name| !name.is_empty())?;
        Some(ObjectName::new(class, parts.pop(), name))
    }

    /// As a person writes it: without the default schema.
    pub fn display(&self) -> String {
        if self.schema == DEFAULT_SCHEMA { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

/// What one statement makes and needs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// Objects that exist after it.
    pub provides: Vec<ObjectName>,
    /// Objects that must exist before it, if the bundle makes them at all.
    pub needs: Vec<ObjectName>,
    /// Objects that had better exist before it: names in strings and comments. Never a reason to call the order impossible.
    pub prefers: Vec<ObjectName>,
    /// Tables that foreign keys inside a CREATE TABLE refer to. Such a key can be added later, so a circle of them is no obstacle.
    pub foreign: Vec<ObjectName>,
    /// The table that it changes (an index, a constraint): who refers to that table waits for it.
    pub touches: Option<ObjectName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_strings_are_read_as_regclass_reads_them() {
        for (text, wanted) in [
            ("orders_id_seq", Some((None, "orders_id_seq"))),
            ("Shop.Orders", Some((Some("shop"), "orders"))),
            (r#""s""3""#, Some((None, "s\"3"))),
            (r#""My Shop"."a.b""#, Some((Some("My Shop"), "a.b"))),
            ("", None),
            (r#""open"#, None),
            (r#""a"b"#, None),
        ] {
            let wanted = wanted
                .map(|(schema, name)| ObjectName::new(Class::Relation, schema.map(str::to_owned), name.to_owned()));
            assert_eq!(ObjectName::from_text(Class::Relation, text), wanted, "{text}");
        }
    }
}
