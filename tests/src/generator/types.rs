//! The types that columns can have: what is valid for each (literals, index methods), so that no text has to be made invalid by a
//! change of type.

use serde::{Deserialize, Serialize};

use super::model::{Name, Schema};
use super::rng::Rng;

/// A type as SQL names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Type {
    /// One of [`BUILTINS`], by its text.
    Builtin(String),
    Enum(Name),
    Composite(Name),
    Domain(Name),
    Range(Name),
    Array(Box<Type>),
}

/// A type of PostgreSQL's own with modifiers.
pub(super) struct Builtin {
    pub(super) sql: &'static str,
    /// Three valid values. No table's generated CHECK refuses the first two.
    pub(super) samples: [&'static str; 3],
    pub(super) can: u8,
    /// Those of one family are tried for each other in a change of type.
    pub(super) family: u8,
}

pub(super) const BTREE: u8 = 1;
pub(super) const HASH: u8 = 2;
pub(super) const GIN: u8 = 4;
pub(super) const GIST: u8 = 8;
pub(super) const BRIN: u8 = 16;
pub(super) const SPGIST: u8 = 32;

const ORD: u8 = BTREE | HASH | BRIN;
const RANGE: u8 = BTREE | HASH | GIST | SPGIST;

const fn t(sql: &'static str, samples: [&'static str; 3], can: u8, family: u8) -> Builtin {
    Builtin { sql, samples, can, family }
}

const NUMBER: u8 = 0;
const TEXT: u8 = 1;
const TIME: u8 = 2;
const OTHER: u8 = 3;
const GEO: u8 = 4;
const RANGES: u8 = 5;
const BITS: u8 = 6;
const DOCUMENT: u8 = 7;

pub(super) const BUILTINS: &[Builtin] = &[
    t("smallint", ["0", "7", "-3"], ORD, NUMBER),
    t("integer", ["0", "42", "-1"], ORD, NUMBER),
    t("bigint", ["0", "4294967296", "-1"], ORD, NUMBER),
    t("numeric", ["0", "1.50", "-1"], ORD, NUMBER),
    t("numeric(10,2)", ["0", "12.34", "-1"], ORD, NUMBER),
    t("numeric(14,4)", ["0", "1.2345", "-1"], ORD, NUMBER),
    t("numeric(3,0)", ["0", "7", "-1"], ORD, NUMBER),
    t("real", ["0", "1.5", "-1"], ORD, NUMBER),
    t("double precision", ["0", "0.1", "-1"], ORD, NUMBER),
    t("money", ["0", "1.00", "-1"], BTREE, NUMBER),
    t("oid", ["0", "42", "1"], ORD, NUMBER),
    t("boolean", ["true", "false", "true"], BTREE | HASH, OTHER),
    t("text", ["", "it's", "z\\z"], ORD | SPGIST, TEXT),
    t("character varying", ["", "b", "z"], ORD, TEXT),
    t("character varying(10)", ["", "b", "z"], ORD, TEXT),
    t("character varying(255)", ["", "b", "z"], ORD, TEXT),
    t("character(4)", ["a", "b", "z"], ORD, TEXT),
    t("name", ["a", "b", "z"], ORD, TEXT),
    t("\"char\"", ["a", "b", "z"], BTREE | HASH, TEXT),
    t("bytea", ["\\x", "\\x00ff", "\\x01"], ORD, OTHER),
    t("date", ["2024-02-29", "1999-12-31", "infinity"], ORD, TIME),
    t("time without time zone", ["00:00", "12:34:56.789", "24:00"], ORD, TIME),
    t("time(3) without time zone", ["00:00", "12:34:56.789", "24:00"], ORD, TIME),
    t("time with time zone", ["00:00+00", "12:34+02", "24:00+00"], ORD, TIME),
    t("timestamp without time zone", ["2024-02-29 12:00", "1999-12-31", "infinity"], ORD, TIME),
    t("timestamp(0) without time zone", ["2024-02-29 12:00", "1999-12-31", "infinity"], ORD, TIME),
    t("timestamp with time zone", ["2024-02-29 12:00+00", "1999-12-31 00:00+00", "infinity"], ORD, TIME),
    t("timestamp(3) with time zone", ["2024-02-29 12:00+00", "1999-12-31 00:00+00", "infinity"], ORD, TIME),
    t("interval", ["1 day", "02:00:00", "-1 year"], ORD, TIME),
    t("interval(2)", ["1 day", "02:00:00", "-1 year"], ORD, TIME),
    t("interval day to second", ["1 day", "02:00:00", "3 days"], ORD, TIME),
    t(
        "uuid",
        [
            "00000000-0000-0000-0000-000000000000",
            "123e4567-e89b-12d3-a456-426614174000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
        ORD,
        OTHER,
    ),
    t("inet", ["127.0.0.1", "10.0.0.0/8", "::1"], ORD | SPGIST, OTHER),
    t("cidr", ["10.0.0.0/8", "192.168.0.0/16", "::1/128"], ORD, OTHER),
    t("macaddr", ["08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"], ORD, OTHER),
    t("macaddr8", ["08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff"], ORD, OTHER),
    t("bit(3)", ["101", "000", "111"], BTREE | BRIN, BITS),
    t("bit varying(8)", ["101", "", "1"], BTREE | BRIN, BITS),
    t("bit varying", ["101", "", "1"], BTREE | BRIN, BITS),
    t("json", ["{}", "[1, 2]", "null"], 0, DOCUMENT),
    t("jsonb", ["{}", "[1, 2]", "null"], BTREE | HASH | GIN, DOCUMENT),
    t("xml", ["<a/>", "<b>x</b>", "<c/>"], 0, DOCUMENT),
    t("tsvector", ["a b", "", "c:1A"], BTREE | GIN | GIST, DOCUMENT),
    t("tsquery", ["a & b", "c", "!d"], BTREE | GIST, DOCUMENT),
    t("point", ["(0,0)", "(1,2)", "(-1,0)"], GIST | SPGIST, GEO),
    t("box", ["(1,1),(0,0)", "(2,2),(1,1)", "(3,3),(0,0)"], GIST | SPGIST, GEO),
    t("circle", ["<(0,0),1>", "<(1,1),2>", "<(2,2),1>"], GIST, GEO),
    t("polygon", ["((0,0),(1,0),(1,1))", "((0,0),(2,0),(2,2))", "((0,0),(3,0),(3,3))"], GIST | SPGIST, GEO),
    t("line", ["{1,2,3}", "{0,1,0}", "{1,0,0}"], 0, GEO),
    t("lseg", ["[(0,0),(1,1)]", "[(0,0),(2,2)]", "[(0,0),(3,3)]"], 0, GEO),
    t("path", ["((0,0),(1,1))", "[(0,0),(2,2)]", "[(0,0),(3,3)]"], 0, GEO),
    t("int4range", ["[1,2)", "empty", "(,5)"], RANGE, RANGES),
    t("int8range", ["[1,2)", "empty", "(,5)"], RANGE, RANGES),
    t("numrange", ["[1,2)", "empty", "(,5)"], RANGE, RANGES),
    t("tstzrange", ["[2024-01-01,2024-02-01)", "empty", "(,)"], RANGE, RANGES),
    t("daterange", ["[2024-01-01,2024-02-01)", "empty", "(,)"], RANGE, RANGES),
    t("int4multirange", ["{}", "{[1,2)}", "{(,5)}"], BTREE | HASH | GIST, RANGES),
    t("pg_lsn", ["0/0", "16/B374D848", "1/1"], ORD, OTHER),
    t("regclass", ["pg_class", "pg_type", "pg_proc"], BTREE | HASH, OTHER),
    t("jsonpath", ["$.a", "$", "$.b"], 0, DOCUMENT),
];

impl Type {
    pub(super) fn builtin(sql: &str) -> Type {
        Type::Builtin(sql.to_owned())
    }

    pub(super) fn facts(&self) -> Option<&'static Builtin> {
        match self {
            Type::Builtin(sql) => BUILTINS.iter().find(|builtin| builtin.sql == sql),
            _ => None,
        }
    }

    /// As SQL names it.
    pub(super) fn sql(&self) -> String {
        match self {
            Type::Builtin(sql) => sql.clone(),
            Type::Enum(name) | Type::Composite(name) | Type::Domain(name) | Type::Range(name) => name.sql(),
            Type::Array(of) => format!("{}[]", of.sql()),
        }
    }

    pub(super) fn is(&self, names: &[&str]) -> bool {
        matches!(self, Type::Builtin(sql) if names.contains(&sql.as_str()))
    }

    pub(super) fn is_integer(&self) -> bool {
        self.is(&["smallint", "integer", "bigint"])
    }

    pub(super) fn is_text(&self) -> bool {
        self.is(&["text", "character varying", "character varying(10)", "character varying(255)"])
    }

    /// What it stands on: a domain's base type.
    pub(super) fn base<'a>(&'a self, schema: &'a Schema) -> &'a Type {
        match self {
            Type::Domain(name) => match schema.domains.iter().find(|domain| domain.name == *name) {
                Some(domain) => domain.base.base(schema),
                None => self,
            },
            _ => self,
        }
    }

    /// Which index methods it has, and (by [`BTREE`]) whether it has operators for comparing.
    pub(super) fn can(&self, schema: &Schema) -> u8 {
        match self.base(schema) {
            // A domain over an enum has no operators of its own, and the enum's are not found for it.
            Type::Enum(_) if matches!(self, Type::Domain(_)) => 0,
            Type::Enum(_) => BTREE | HASH,
            Type::Range(_) => RANGE,
            Type::Array(of) => match of.can(schema) & BTREE {
                0 => 0,
                _ => BTREE | GIN,
            },
            base => base.facts().map_or(0, |facts| facts.can),
        }
    }

    /// A value as an SQL expression; `which` is taken modulo what there is.
    pub(super) fn literal(&self, schema: &Schema, which: u8) -> String {
        match self {
            Type::Composite(name) => {
                let attributes = schema.composites.iter().find(|composite| composite.name == *name);
                let values: Vec<String> = attributes
                    .iter()
                    .flat_map(|composite| &composite.attributes)
                    .map(|attribute| attribute.data_type.literal(schema, which))
                    .collect();
                format!("ROW({})::{}", values.join(", "), name.sql())
            }
            Type::Array(of) if of.facts().is_none() => match which % 2 {
                0 => format!("'{{}}'::{}", self.sql()),
                _ => format!("ARRAY[{}]", of.literal(schema, which)),
            },
            Type::Domain(name) if matches!(self.base(schema), Type::Composite(_)) => {
                format!("({})::{}", self.base(schema).literal(schema, which), name.sql())
            }
            _ => format!("{}::{}", quote(&self.sample(schema, which)), self.sql()),
        }
    }

    /// The text of a value.
    fn sample(&self, schema: &Schema, which: u8) -> String {
        match self.base(schema) {
            Type::Enum(name) => {
                let labels = schema.enums.iter().find(|e| e.name == *name).map_or(&[] as &[String], |e| &e.labels);
                labels.get(which as usize % labels.len().max(1)).cloned().unwrap_or_default()
            }
            Type::Range(_) => ["empty", "(,)"][which as usize % 2].to_owned(),
            Type::Array(_) => "{}".to_owned(),
            base => base.facts().map_or("", |facts| facts.samples[which as usize % 3]).to_owned(),
        }
    }

    /// Any type that the schema offers.
    pub(super) fn any(rng: &mut Rng, schema: &Schema) -> Type {
        let own = match rng.below(14) {
            0 | 1 => rng.one(&schema.enums).map(|e| Type::Enum(e.name.clone())),
            2 => rng.one(&schema.composites).map(|c| Type::Composite(c.name.clone())),
            3 => rng.one(&schema.domains).map(|d| Type::Domain(d.name.clone())),
            4 => rng.one(&schema.ranges).map(|r| Type::Range(r.name.clone())),
            5 => {
                let of = if rng.chance(25) { Type::any(rng, schema) } else { Type::common(rng) };
                (!matches!(of, Type::Array(_))).then(|| Type::Array(Box::new(of)))
            }
            _ => None,
        };
        own.unwrap_or_else(|| if rng.chance(50) { Type::common(rng) } else { Type::builtin(rng.pick(BUILTINS).sql) })
    }

    /// One of those that most columns have.
    pub(super) fn common(rng: &mut Rng) -> Type {
        const COMMON: &[&str] = &[
            "integer",
            "bigint",
            "text",
            "character varying(255)",
            "numeric(10,2)",
            "boolean",
            "timestamp with time zone",
            "date",
            "uuid",
            "jsonb",
        ];
        Type::builtin(rng.pick::<&str>(COMMON))
    }

    /// A type to change to: half the time of the same family.
    pub(super) fn other(&self, rng: &mut Rng, schema: &Schema) -> Type {
        let family = self.facts().map(|facts| facts.family);
        if rng.chance(60) {
            let kin: Vec<&Builtin> = BUILTINS.iter().filter(|builtin| Some(builtin.family) == family).collect();
            if let Some(kin) = rng.one(&kin) {
                return Type::builtin(kin.sql);
            }
        }
        Type::any(rng, schema)
    }
}

/// A literal of SQL.
pub(super) fn quote(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}
