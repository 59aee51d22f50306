//! What [`repair`](super::repair) does to routines.

use super::model::{Name, Role, Routine, Schema};
use super::types::Type;

impl Schema {
    pub(super) fn repair_routines(&mut self) {
        let copy = self.clone();
        for routine in &mut self.routines {
            for parameter in &mut routine.parameters {
                if !copy.has_type(&parameter.data_type) {
                    parameter.data_type = Type::builtin("text");
                }
            }
            if !copy.has_type(&routine.returns) {
                routine.returns = Type::builtin("text");
            }
            // PostgreSQL refuses an OUT parameter of a procedure behind one with a default.
            if routine.role == Role::Procedure && routine.parameters.iter().any(|p| p.out) {
                routine.parameters.iter_mut().for_each(|p| p.default = None);
            }
            if matches!(routine.role, Role::Maker | Role::Trigger) {
                routine.parameters.clear();
            }
            if matches!(routine.role, Role::Predicate | Role::Key | Role::Aggregate) {
                routine.parameters.truncate(1);
                if routine.parameters.is_empty() {
                    routine.name.name.clear();
                }
            }
        }
        // Every overload of one name must differ in its input types.
        let mut seen: Vec<(Name, Vec<Type>)> = Vec::new();
        self.routines.retain(|routine| {
            let inputs = routine.parameters.iter().filter(|p| !p.out).map(|p| bare(&p.data_type)).collect();
            let identity = (routine.name.clone(), inputs);
            let new = !seen.contains(&identity) && !routine.name.name.is_empty();
            seen.push(identity);
            new
        });
        // A procedure's OUT parameters are part of what it is called with.
        let mut names: Vec<(Name, Role)> = Vec::new();
        self.routines.retain(|routine| {
            let other = names
                .iter()
                .any(|(name, role)| *name == routine.name && (*role != Role::General || routine.role != Role::General));
            names.push((routine.name.clone(), routine.role));
            !other
        });
    }

    pub(super) fn repair_late_routine(&mut self, place: usize) {
        let mut routine: Routine = self.routines[place].clone();
        if !matches!(routine.role, Role::Atomic | Role::SetOf | Role::Rows) {
            return;
        }
        let columns = routine.target.as_ref().map(|(name, _)| self.relation(name)).unwrap_or_default();
        match columns.iter().find(|(name, _)| routine.target.as_ref().is_some_and(|(_, column)| column == name)) {
            Some((_, of)) => routine.returns = of.clone(),
            None => routine.name.name.clear(),
        }
        self.routines[place] = routine;
    }
}

/// As function signatures have it: without modifiers.
fn bare(of: &Type) -> Type {
    match of {
        Type::Builtin(sql) if sql.starts_with("interval") => Type::builtin("interval"),
        Type::Builtin(sql) => Type::Builtin(
            sql.chars()
                .filter({
                    let mut depth = 0;
                    move |c| {
                        depth += i32::from(*c == '(');
                        let outside = depth == 0;
                        depth -= i32::from(*c == ')');
                        outside
                    }
                })
                .collect(),
        ),
        Type::Array(of) => Type::Array(Box::new(bare(of))),
        other => other.clone(),
    }
}
