//! Edits.

use super::make::comment;
use super::make_table::table_options;
use super::model::{Schema, Table, View};
use super::rng::Rng;
use super::types::Type;

impl Schema {
    /// This schema after one to eight edits, each anything that may happen to a schema between two releases.
    pub fn mutate(&self, rng: &mut Rng) -> Schema {
        let mut schema = self.clone();
        for _ in 0..1 + rng.below(8) {
            schema.edit(rng);
            schema.repair();
        }
        schema
    }

    fn edit(&mut self, rng: &mut Rng) {
        match rng.below(40) {
            0 => match rng.below(3) {
                0 => self.add_namespace(rng),
                1 => remove(rng, &mut self.namespaces),
                _ => {
                    let mut spaces = std::mem::take(&mut self.namespaces);
                    one(rng, &mut spaces, |rng, space| {
                        space.comment = comment(rng);
                        space.granted = !space.granted;
                    });
                    self.namespaces = spaces;
                }
            },
            1..=4 => self.edit_enum(rng),
            5 | 6 => self.edit_composite(rng),
            7 | 8 => self.edit_domain(rng),
            9 => match rng.below(3) {
                0 => self.add_range(rng),
                1 => remove(rng, &mut self.ranges),
                _ => one(rng, &mut self.ranges, |rng, range| {
                    range.subtype = (*rng.pick(&["float8", "text", "inet"])).to_owned()
                }),
            },
            10..=14 => self.edit_routine(rng),
            15 | 16 => self.edit_sequence(rng),
            17 => self.add_table(rng),
            18 => remove(rng, &mut self.tables),
            19 => {
                let parents: Vec<_> =
                    self.tables.iter().filter(|t| t.partition_by.is_some()).map(|t| t.name.clone()).collect();
                if let Some(parent) = rng.one(&parents) {
                    self.add_partition(rng, parent);
                }
            }
            20..=34 => {
                let schema = self.clone();
                one(rng, &mut self.tables, |rng, table| schema.edit_table(rng, table));
            }
            35 => self.add_view(rng),
            36 => remove(rng, &mut self.views),
            _ => {
                let schema = self.clone();
                one(rng, &mut self.views, |rng, view| schema.edit_view(rng, view));
            }
        }
    }

    fn edit_enum(&mut self, rng: &mut Rng) {
        match rng.below(8) {
            0 => self.add_enum(rng),
            1 => remove(rng, &mut self.enums),
            _ => one(rng, &mut self.enums, |rng, e| match rng.below(6) {
                0..=2 => {
                    let label = format!("added{}", rng.below(3));
                    if !e.labels.contains(&label) {
                        e.labels.insert(rng.below(e.labels.len() + 1), label);
                    }
                }
                3 => remove(rng, &mut e.labels),
                4 => e.labels.reverse(),
                _ => {
                    e.comment = comment(rng);
                    e.revoked = !e.revoked;
                }
            }),
        }
    }

    fn edit_composite(&mut self, rng: &mut Rng) {
        let schema = self.clone();
        match rng.below(6) {
            0 => self.add_composite(rng),
            1 => remove(rng, &mut self.composites),
            _ => one(rng, &mut self.composites, |rng, composite| match rng.below(4) {
                0 => composite.attributes.push(schema.attribute(rng, &composite.attributes)),
                1 => remove(rng, &mut composite.attributes),
                2 => one(rng, &mut composite.attributes, |rng, attribute| attribute.data_type = Type::common(rng)),
                _ => composite.comment = comment(rng),
            }),
        }
    }

    fn edit_domain(&mut self, rng: &mut Rng) {
        let schema = self.clone();
        match rng.below(8) {
            0 => self.add_domain(rng),
            1 => remove(rng, &mut self.domains),
            _ => one(rng, &mut self.domains, |rng, domain| match rng.below(6) {
                0 => domain.base = schema.domain_base(rng),
                1 => domain.not_null = !domain.not_null,
                2 => domain.default = if domain.default.is_some() { None } else { Some(rng.below(2) as u8) },
                3 => domain.check = if domain.check.is_some() { None } else { Some(0) },
                4 => domain.check = domain.check.map(|n| 1 - n.min(1)),
                _ => domain.check_name = rng.perhaps(50, |rng| format!("sound{}", rng.below(2))),
            }),
        }
    }

    fn edit_routine(&mut self, rng: &mut Rng) {
        let schema = self.clone();
        match rng.below(10) {
            0 => self.add_routine(rng, true),
            1 => self.add_routine(rng, false),
            2 => remove(rng, &mut self.routines),
            3 | 4 => one(rng, &mut self.routines, |rng, routine| *routine = schema.routine_like(rng, routine)),
            _ => one(rng, &mut self.routines, |rng, routine| match rng.below(8) {
                0 | 1 => routine.body = routine.body.wrapping_add(1) % 6,
                2 => routine.returns = routine.returns.other(rng, &schema),
                3 => one(rng, &mut routine.parameters, |rng, p| p.name = Some(format!("renamed{}", rng.below(3)))),
                4 => one(rng, &mut routine.parameters, |rng, p| {
                    p.default = if p.default.is_some() || p.out { None } else { Some(rng.below(2) as u8) };
                }),
                5 => routine.options = schema.routine_like(rng, routine).options,
                6 => routine.plpgsql = !routine.plpgsql,
                _ => {
                    routine.comment = comment(rng);
                    routine.revoked = !routine.revoked;
                }
            }),
        }
        // Two parameters of one name are refused.
        for routine in &mut self.routines {
            for place in 0..routine.parameters.len() {
                let (before, rest) = routine.parameters.split_at_mut(place);
                if rest[0].name.is_some() && before.iter().any(|p| p.name == rest[0].name) {
                    rest[0].name = Some(format!("p{place}"));
                }
            }
        }
    }

    fn edit_sequence(&mut self, rng: &mut Rng) {
        let owners: Vec<_> = self
            .tables
            .iter()
            .flat_map(|table| table.columns.iter().map(|column| (table.name.clone(), column.name.clone())))
            .collect();
        match rng.below(6) {
            0 => self.add_sequence(rng),
            1 => remove(rng, &mut self.sequences),
            _ => one(rng, &mut self.sequences, |rng, sequence| match rng.below(5) {
                0 => sequence.data_type = rng.perhaps(60, |rng| (*rng.pick(&["smallint", "integer"])).to_owned()),
                1 | 2 => sequence.options = Schema::sequence_options(rng),
                3 => sequence.owned_by = if sequence.owned_by.is_some() { None } else { rng.one(&owners).cloned() },
                _ => {
                    sequence.comment = comment(rng);
                    sequence.granted = !sequence.granted;
                }
            }),
        }
    }

    fn edit_view(&self, rng: &mut Rng, view: &mut View) {
        match rng.below(9) {
            0 | 1 => view.columns = self.view_columns(rng, &view.source),
            2 => remove(rng, &mut view.columns),
            3 => view.condition = self.some_condition(rng, &self.relation(&view.source)),
            4 => view.options = Schema::view_options(rng),
            5 => view.star = !view.star,
            6 => one(rng, &mut view.columns, |rng, column| column.shape = rng.below(4) as u8),
            7 if view.materialized => {
                if view.indexes.is_empty() {
                    view.indexes.extend(self.some_index(rng, &view.name, &self.relation(&view.name), &[]));
                } else {
                    view.indexes.clear();
                }
            }
            7 => view.trigger = if view.trigger.is_some() { None } else { self.a_trigger_function(rng) },
            _ => {
                view.comment = comment(rng);
                view.grants = if view.grants.is_empty() { vec!["SELECT".to_owned()] } else { Vec::new() };
            }
        }
    }

    fn edit_table(&self, rng: &mut Rng, table: &mut Table) {
        match rng.below(40) {
            0..=3 => {
                let column = self.some_column(rng, table);
                let place = if rng.chance(70) { table.columns.len() } else { rng.below(table.columns.len() + 1) };
                table.columns.insert(place, column);
            }
            4..=6 => remove(rng, &mut table.columns),
            7..=16 => self.edit_column(rng, table),
            17 | 18 => table.constraints.extend(self.some_constraint(rng, table)),
            19 | 20 => remove(rng, &mut table.constraints),
            21 | 22 => {
                let copy = table.clone();
                one(rng, &mut table.constraints, |rng, constraint| {
                    if let Some(other) = self.some_constraint(rng, &copy) {
                        constraint.rule = other.rule;
                        constraint.comment = other.comment;
                    }
                });
            }
            23 | 24 => table.indexes.extend(self.some_index(rng, &table.name, &self.columns_of(table), &table.indexes)),
            25 => remove(rng, &mut table.indexes),
            26 | 27 => {
                let (name, columns) = (table.name.clone(), self.columns_of(table));
                one(rng, &mut table.indexes, |rng, index| {
                    if let Some(other) = self.some_index(rng, &name, &columns, &[]) {
                        *index = super::model::Index { name: index.name.clone(), ..other };
                    }
                });
            }
            28 => table.triggers.extend(self.some_trigger(rng, table)),
            29 => remove(rng, &mut table.triggers),
            30 => {
                let copy = table.clone();
                one(rng, &mut table.triggers, |rng, trigger| {
                    if let Some(other) = self.some_trigger(rng, &copy) {
                        *trigger = super::model::Trigger { name: trigger.name.clone(), ..other };
                    }
                });
            }
            31 => table.policies.extend(self.some_policy(rng, table)),
            32 => {
                let copy = table.clone();
                one(rng, &mut table.policies, |rng, policy| {
                    if let Some(other) = self.some_policy(rng, &copy) {
                        *policy = super::model::Policy { name: policy.name.clone(), ..other };
                    }
                });
            }
            33 if table.rules.is_empty() => table.rules.extend(self.some_rule(rng, table)),
            33 => table.rules.clear(),
            34 if table.statistics.is_empty() => table.statistics.extend(self.some_statistics(rng, table)),
            34 => table.statistics.clear(),
            35 => table.unlogged = !table.unlogged,
            36 => table.row_security = !table.row_security,
            37 => table.options = table_options(rng),
            38 => match (&mut table.partition_of, rng.below(3)) {
                (Some(of), _) => of.bound = rng.below(8) as u8,
                (None, 0) => table.replica_full = !table.replica_full,
                (None, 1) => table.inherits = None,
                (None, _) => table.force_row_security = !table.force_row_security,
            },
            _ => {
                table.comment = comment(rng);
                table.grants = if table.grants.is_empty() { vec!["SELECT".to_owned()] } else { Vec::new() };
            }
        }
    }

    fn edit_column(&self, rng: &mut Rng, table: &mut Table) {
        let copy = table.clone();
        one(rng, &mut table.columns, |rng, column| match rng.below(14) {
            0..=3 => column.data_type = column.data_type.other(rng, self),
            4 | 5 => column.not_null = !column.not_null,
            6 => column.default = Some(self.some_default(rng, column)),
            7 => column.default = None,
            8 => column.identity = if column.identity.is_some() { None } else { Some(self.some_identity(rng)) },
            9 => column.identity = column.identity.as_ref().map(|_| self.some_identity(rng)),
            10 => column.generated = if column.generated.is_some() { None } else { self.some_generation(rng, &copy) },
            11 => column.serial = !column.serial,
            12 => {
                // Everything at once, under the old name.
                let name = column.name.clone();
                *column = super::model::Column { name, ..self.some_column(rng, &copy) };
            }
            _ => {
                let other = self.some_column(rng, &copy);
                column.comment = other.comment;
                column.storage = if column.storage.is_some() { None } else { Some("EXTERNAL".to_owned()) };
                column.collation = if column.collation.is_some() { None } else { other.collation };
                column.statistics = if column.statistics.is_some() { None } else { Some(77) };
                column.granted = !column.granted;
            }
        });
    }
}

fn remove<T>(rng: &mut Rng, from: &mut Vec<T>) {
    if !from.is_empty() {
        from.remove(rng.below(from.len()));
    }
}

fn one<T>(rng: &mut Rng, of: &mut [T], edit: impl FnOnce(&mut Rng, &mut T)) {
    let place = rng.below(of.len());
    if let Some(element) = of.get_mut(place) {
        edit(rng, element);
    }
}
