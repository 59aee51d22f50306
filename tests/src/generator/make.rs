//! New objects. What is made here may be invalid in its place; [`repair`](super::repair) sees to that.

use super::model::{
    Attribute, Composite, Condition, Domain, Enum, Name, Namespace, Parameter, Range, Role, Routine, Schema, Sequence,
    View, ViewColumn,
};
use super::rng::Rng;
use super::types::Type;

/// A name that is not taken: `prefix` and a number, now and then one that must be quoted.
pub(super) fn fresh(rng: &mut Rng, prefix: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut n = rng.below(4);
    loop {
        let plain = format!("{prefix}{n}");
        let odd = match rng.below(30) {
            0 => format!("{}{n}", prefix.to_uppercase()),
            1 => format!("{prefix} {n}"),
            2 => format!("{prefix}\"{n}"),
            3 => format!("{prefix}ä{n}"),
            _ => plain,
        };
        if !taken(&odd) {
            return odd;
        }
        n += 1;
    }
}

pub(super) fn comment(rng: &mut Rng) -> Option<String> {
    const TEXTS: &[&str] = &["a comment", "it's; another", "über \\ 100 %", "two\nlines"];
    rng.perhaps(12, |rng| (*rng.pick(TEXTS)).to_owned())
}

impl Schema {
    /// A schema of a seed's numbers: small enough to be built in some 10 ms.
    pub fn random(rng: &mut Rng) -> Schema {
        let mut schema = Schema::default();
        if rng.chance(25) {
            schema.add_namespace(rng);
        }
        for _ in 0..rng.below(3) {
            schema.add_enum(rng);
        }
        for _ in 0..rng.below(2) {
            schema.add_composite(rng);
        }
        for _ in 0..rng.below(3) {
            schema.add_domain(rng);
        }
        if rng.chance(25) {
            schema.add_range(rng);
        }
        for _ in 0..rng.below(5) {
            schema.add_routine(rng, true);
        }
        for _ in 0..rng.below(3) {
            schema.add_sequence(rng);
        }
        for _ in 0..1 + rng.below(5) {
            schema.add_table(rng);
        }
        for _ in 0..rng.below(4) {
            schema.add_view(rng);
        }
        for _ in 0..rng.below(3) {
            schema.add_routine(rng, false);
        }
        schema.repair();
        schema
    }

    /// In `public`, or in another schema where there is one.
    pub(super) fn some_name(&self, rng: &mut Rng, prefix: &str) -> Name {
        let space = if rng.chance(25) { rng.one(&self.namespaces).map(|space| space.name.clone()) } else { None };
        let schema = space.unwrap_or_else(|| "public".to_owned());
        let mut names = self.names();
        names.retain(|name| name.schema == schema);
        Name { name: fresh(rng, prefix, |wanted| names.iter().any(|name| name.name == wanted)), schema }
    }

    /// The names of all objects that have a schema.
    pub(super) fn names(&self) -> Vec<Name> {
        let types = self.enums.iter().map(|x| &x.name).chain(self.composites.iter().map(|x| &x.name));
        let types = types.chain(self.domains.iter().map(|x| &x.name)).chain(self.ranges.iter().map(|x| &x.name));
        let code = self.routines.iter().map(|x| &x.name).chain(self.sequences.iter().map(|x| &x.name));
        let relations = self.tables.iter().map(|x| &x.name).chain(self.views.iter().map(|x| &x.name));
        types.chain(code).chain(relations).cloned().collect()
    }

    pub(super) fn add_namespace(&mut self, rng: &mut Rng) {
        let name = fresh(rng, "n", |name| self.namespaces.iter().any(|space| space.name == name));
        self.namespaces.push(Namespace { name, comment: comment(rng), granted: rng.chance(40) });
    }

    pub(super) fn add_enum(&mut self, rng: &mut Rng) {
        const LABELS: &[&str] = &["new", "paid", "sent", "it's", "Two Words", "x;y", "lost"];
        let mut labels: Vec<String> = rng.some(LABELS, 4).into_iter().map(str::to_owned).collect();
        if rng.chance(30) {
            labels.reverse();
        }
        let name = self.some_name(rng, "e");
        self.enums.push(Enum { name, labels, comment: comment(rng), revoked: rng.chance(10) });
    }

    pub(super) fn attribute(&self, rng: &mut Rng, taken: &[Attribute]) -> Attribute {
        let name = fresh(rng, "a", |name| taken.iter().any(|attribute| attribute.name == name));
        let own = if rng.chance(20) { rng.one(&self.enums).map(|e| Type::Enum(e.name.clone())) } else { None };
        Attribute { name, data_type: own.unwrap_or_else(|| Type::common(rng)) }
    }

    pub(super) fn add_composite(&mut self, rng: &mut Rng) {
        let mut attributes = Vec::new();
        for _ in 0..1 + rng.below(4) {
            attributes.push(self.attribute(rng, &attributes));
        }
        let name = self.some_name(rng, "c");
        self.composites.push(Composite { name, attributes, comment: comment(rng) });
    }

    pub(super) fn domain_base(&self, rng: &mut Rng) -> Type {
        match rng.below(8) {
            0 => rng.one(&self.enums).map_or_else(|| Type::common(rng), |e| Type::Enum(e.name.clone())),
            1 => Type::Array(Box::new(Type::common(rng))),
            2 => Type::builtin(rng.pick(super::types::BUILTINS).sql),
            _ => Type::common(rng),
        }
    }

    pub(super) fn add_domain(&mut self, rng: &mut Rng) {
        let name = self.some_name(rng, "d");
        self.domains.push(Domain {
            base: self.domain_base(rng),
            not_null: rng.chance(15),
            default: rng.perhaps(30, |rng| rng.below(2) as u8),
            check: rng.perhaps(60, |rng| rng.below(2) as u8),
            check_name: rng.perhaps(50, |_| "sound".to_owned()),
            comment: comment(rng),
            name,
        });
    }

    pub(super) fn add_range(&mut self, rng: &mut Rng) {
        let name = self.some_name(rng, "r");
        let subtype = (*rng.pick(&["float8", "text", "time", "inet"])).to_owned();
        self.ranges.push(Range { name, subtype, comment: comment(rng) });
    }

    pub(super) fn sequence_options(rng: &mut Rng) -> Vec<String> {
        const OPTIONS: &[&str] =
            &["INCREMENT BY 5", "MINVALUE 1", "MAXVALUE 30000", "START WITH 7", "CACHE 10", "CYCLE"];
        if rng.chance(50) { Vec::new() } else { rng.some(OPTIONS, 2).into_iter().map(str::to_owned).collect() }
    }

    pub(super) fn add_sequence(&mut self, rng: &mut Rng) {
        let name = self.some_name(rng, "s");
        self.sequences.push(Sequence {
            name,
            data_type: rng.perhaps(40, |rng| (*rng.pick(&["smallint", "integer", "bigint"])).to_owned()),
            options: Schema::sequence_options(rng),
            owned_by: None,
            comment: comment(rng),
            granted: rng.chance(20),
        });
    }

    fn parameter(&self, rng: &mut Rng, place: usize) -> Parameter {
        Parameter {
            name: rng.perhaps(85, |_| format!("p{place}")),
            data_type: Type::any(rng, self),
            default: rng.perhaps(25, |rng| rng.below(2) as u8),
            out: false,
        }
    }

    fn routine_options(rng: &mut Rng) -> Vec<String> {
        const OPTIONS: &[&str] = &[
            "STRICT",
            "SECURITY DEFINER",
            "PARALLEL SAFE",
            "COST 7",
            "SET search_path TO public, pg_temp",
            "SET work_mem TO '4MB'",
        ];
        if rng.chance(60) { Vec::new() } else { rng.some(OPTIONS, 2).into_iter().map(str::to_owned).collect() }
    }

    /// Another routine of the same name and role.
    pub(super) fn routine_like(&self, rng: &mut Rng, old: &Routine) -> Routine {
        Routine { name: old.name.clone(), ..self.some_routine(rng, old.role) }
    }

    fn some_routine(&self, rng: &mut Rng, role: Role) -> Routine {
        let relations: Vec<Name> =
            self.tables.iter().map(|t| t.name.clone()).chain(self.views.iter().map(|v| v.name.clone())).collect();
        let target = rng.one(&relations).cloned();
        let column = target.as_ref().and_then(|name| rng.one(&self.relation(name)).map(|(name, _)| name.clone()));
        let mut parameters = Vec::new();
        let count = match role {
            Role::Predicate | Role::Key | Role::Aggregate => 1,
            Role::General | Role::Procedure => rng.below(4),
            Role::Atomic | Role::SetOf | Role::Rows => rng.below(2),
            Role::Maker | Role::Trigger => 0,
        };
        for place in 0..count {
            let mut parameter = self.parameter(rng, place);
            match role {
                Role::Predicate | Role::Key => parameter.default = None,
                Role::Aggregate => {
                    parameter.data_type = Type::builtin(rng.pick::<&str>(&["integer", "bigint", "numeric", "text"]));
                    parameter.default = None;
                }
                Role::General | Role::Procedure if rng.chance(15) => {
                    parameter.out = true;
                    parameter.default = None;
                }
                _ => {}
            }
            parameters.push(parameter);
        }
        let mut options =
            if matches!(role, Role::Procedure | Role::Aggregate) { Vec::new() } else { Schema::routine_options(rng) };
        if matches!(role, Role::General | Role::Maker | Role::Rows | Role::SetOf) && rng.chance(40) {
            options.push((*rng.pick(&["STABLE", "IMMUTABLE"])).to_owned());
        }
        Routine {
            name: Name { schema: String::new(), name: String::new() },
            role,
            parameters,
            returns: Type::any(rng, self),
            target: target.zip(column),
            plpgsql: rng.chance(50),
            options,
            body: rng.below(6) as u8,
            comment: comment(rng),
            revoked: rng.chance(10),
        }
    }

    /// A routine that tables can use (`early`), or one over tables.
    pub(super) fn add_routine(&mut self, rng: &mut Rng, early: bool) {
        const EARLY: &[Role] = &[
            Role::Maker,
            Role::Predicate,
            Role::Key,
            Role::Trigger,
            Role::Trigger,
            Role::General,
            Role::General,
            Role::Procedure,
            Role::Aggregate,
        ];
        let role = *rng.pick(if early { EARLY } else { &[Role::Atomic, Role::SetOf, Role::Rows] });
        let mut routine = self.some_routine(rng, role);
        // An overload: same name, other parameters.
        let namesake = self.routines.iter().find(|other| other.role == Role::General);
        routine.name = match namesake {
            Some(other) if role == Role::General && rng.chance(50) => other.name.clone(),
            _ => self.some_name(rng, "f"),
        };
        self.routines.push(routine);
    }

    pub(super) fn some_condition(&self, rng: &mut Rng, columns: &[(String, Type)]) -> Option<Condition> {
        let (column, of) = rng.one(columns)?.clone();
        let fitting: Vec<&Routine> = self
            .routines
            .iter()
            .filter(|r| r.role == Role::Predicate && r.parameters.first().is_some_and(|p| p.data_type == of))
            .collect();
        let predicate = if rng.chance(60) { rng.one(&fitting).map(|routine| routine.name.clone()) } else { None };
        Some(Condition { column, shape: rng.below(8) as u8, sample: rng.below(4) as u8, predicate })
    }

    pub(super) fn view_columns(&self, rng: &mut Rng, source: &Name) -> Vec<ViewColumn> {
        let from = self.relation(source);
        let mut columns: Vec<ViewColumn> = Vec::new();
        for (name, _) in rng.some(&from, 4) {
            let own =
                if rng.chance(60) { name.clone() } else { fresh(rng, "x", |x| columns.iter().any(|c| c.name == x)) };
            let shape = if rng.chance(60) { 0 } else { 1 + rng.below(3) as u8 };
            columns.push(ViewColumn { name: own, of: name, shape });
        }
        columns
    }

    pub(super) fn view_options(rng: &mut Rng) -> Vec<String> {
        const OPTIONS: &[&str] = &["security_barrier=true", "security_invoker=true", "check_option=local"];
        if rng.chance(70) { Vec::new() } else { rng.some(OPTIONS, 1).into_iter().map(str::to_owned).collect() }
    }

    pub(super) fn add_view(&mut self, rng: &mut Rng) {
        let relations: Vec<Name> =
            self.tables.iter().map(|t| t.name.clone()).chain(self.views.iter().map(|v| v.name.clone())).collect();
        let Some(source) = rng.one(&relations).cloned() else { return };
        let name = self.some_name(rng, "v");
        let materialized = rng.chance(30);
        let columns = self.view_columns(rng, &source);
        let mut view = View {
            name,
            materialized,
            star: rng.chance(20),
            columns,
            condition: None,
            options: Schema::view_options(rng),
            indexes: Vec::new(),
            comment: comment(rng),
            grants: rng
                .some(&["SELECT", "INSERT"], 1)
                .into_iter()
                .filter(|_| rng.chance(20))
                .map(str::to_owned)
                .collect(),
            trigger: rng.perhaps(15, |rng| self.a_trigger_function(rng)).flatten(),
            source,
        };
        if rng.chance(40) {
            view.condition = self.some_condition(rng, &self.relation(&view.source));
        }
        self.views.push(view);
        let Some(view) = self.views.last() else { return };
        if materialized && rng.chance(60) {
            let (columns, name) = (self.relation(&view.name), view.name.clone());
            let index = self.some_index(rng, &name, &columns, &[]);
            if let Some(view) = self.views.last_mut() {
                view.indexes.extend(index);
            }
        }
    }

    pub(super) fn a_trigger_function(&self, rng: &mut Rng) -> Option<Name> {
        let functions: Vec<&Routine> = self.routines.iter().filter(|r| r.role == Role::Trigger).collect();
        rng.one(&functions).map(|routine| routine.name.clone())
    }
}
