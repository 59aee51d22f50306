//! Which function a call means, and how it is written as SQL.

use std::fmt::Write;

use pgrx::pg_sys;
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::catalog::{Function, Parameter, Unanswerable};
use super::parameters::{Json, Kind, Parameters};
use super::polymorphic;
use crate::postgres::{self, PgError, Shape as TypeShape, quote_identifier};

/// How the arguments are written: part of what a plan is prepared for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Shape {
    /// So many in order.
    Positional(usize),
    /// So many in order, the last of which is the VARIADIC array itself.
    VariadicArray(usize),
    /// These, by name.
    Named(Vec<String>),
}

/// The function that a call means, with its arguments.
pub(super) struct Chosen<'f, 'j> {
    pub(super) function: &'f Function,
    shape: Shape,
    /// The declared type of each argument.
    types: Vec<pg_sys::Oid>,
    pub(super) arguments: Vec<Json<'j>>,
    /// How well the arguments fit; for choosing among overloads.
    fit: u32,
}

/// Chooses among the functions of a name.
///
/// # Errors
/// `function_not_found` with the candidates, `unauthorized_function` if there are some but no bundle deployed them.
pub(super) fn choose<'f, 'j>(
    name: &str,
    functions: &'f [Function],
    parameters: &Parameters<'j>,
) -> Result<Chosen<'f, 'j>, Failure> {
    let deployed: Vec<&Function> =
        functions.iter().filter(|function| function.deployed && !function.is_trigger).collect();
    if deployed.is_empty() {
        return Err(match functions.first() {
            Some(function) if !function.is_trigger => Failure::new(
                ErrorCode::UnauthorizedFunction,
                format!("the function \"{name}\" was not deployed by a bundle"),
            )
            .hint("Only functions of the platform's bundle can be called."),
            Some(_) => Failure::new(ErrorCode::UnauthorizedFunction, format!("\"{name}\" is a trigger function")),
            None => unknown(name),
        });
    }
    let mut fitting = Vec::new();
    for function in &deployed {
        if let Some(chosen) = fit(function, parameters)? {
            fitting.push(chosen);
        }
    }
    fitting.sort_by_key(|chosen| std::cmp::Reverse(chosen.fit));
    let mut fitting = fitting.into_iter();
    let best = match (fitting.next(), fitting.next()) {
        (Some(best), None) => Ok(best),
        (Some(best), Some(second)) if best.fit > second.fit => Ok(best),
        (Some(_), Some(_)) => Err(not_found(format!("the call of \"{name}\" fits more than one function"), &deployed)),
        (None, _) => Err(not_found(format!("no function \"{name}\" takes these parameters"), &deployed)),
    }?;
    match best.function.unanswerable {
        None => Ok(best),
        Some(Unanswerable::Cursor) => Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!("the function \"{name}\" gives a cursor, which ends with its call"),
        )
        .hint("Give the rows themselves: RETURNS TABLE (...) or RETURNS SETOF.")),
        Some(Unanswerable::Record) => Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!("the function \"{name}\" returns record and does not say which columns that has"),
        )
        .hint("Declare them: RETURNS TABLE (...), OUT parameters, or a composite type.")),
    }
}

pub(super) fn unknown(name: &str) -> Failure {
    Failure::new(ErrorCode::FunctionNotFound, format!("there is no function \"{name}\""))
}

/// The error of preparing a call that was chosen. PostgreSQL's rules for overloads and polymorphic types are finer than [`choose`]; what it
/// does not find, or finds twice, is not found.
pub(super) fn not_prepared(name: &str, functions: &[Function], error: PgError) -> Failure {
    if !matches!(error.sqlstate.as_str(), "42883" | "42725") {
        return error.into();
    }
    let deployed: Vec<&Function> = functions.iter().filter(|function| function.deployed).collect();
    let failure = not_found(format!("the call of \"{name}\" does not name one function: {}", error.message), &deployed);
    Failure { sqlstate: Some(error.sqlstate), ..failure }
}

fn not_found(message: String, candidates: &[&Function]) -> Failure {
    let signatures: Vec<&str> = candidates.iter().map(|function| function.signature.as_str()).collect();
    let failure =
        Failure::new(ErrorCode::FunctionNotFound, message).detail(format!("Candidates: {}", signatures.join("; ")));
    let is_pseudo = |parameter: &Parameter| {
        let mut types = [parameter.type_oid];
        polymorphic::resolve(&mut types, &[]);
        types.into_iter().any(|type_oid| postgres::shape(type_oid).is_ok_and(|shape| shape == TypeShape::Pseudo))
    };
    if candidates.iter().any(|function| function.inputs().any(is_pseudo)) {
        failure.hint("JSON does not tell the type that a parameter of a pseudo-type such as record or anyenum takes.")
    } else {
        failure
    }
}

/// A function's argument list for these parameters, if it takes them at all. Whether the values themselves fit their types is for the
/// input functions to say: their errors are better than "not found".
fn fit<'f, 'j>(function: &'f Function, parameters: &Parameters<'j>) -> Result<Option<Chosen<'f, 'j>>, Failure> {
    match parameters {
        Parameters::Positional(values) => positional(function, values),
        Parameters::Named(values) => named(function, values),
    }
}

fn positional<'f, 'j>(function: &'f Function, values: &[Json<'j>]) -> Result<Option<Chosen<'f, 'j>>, Failure> {
    let inputs: Vec<&Parameter> = function.inputs().collect();
    let mut types: Vec<pg_sys::Oid> = inputs.iter().map(|parameter| parameter.type_oid).collect();
    let mut shape = Shape::Positional(values.len());
    if let Some(element) = function.variadic {
        let fixed = types.len() - 1;
        let last_is_array = values.len() == types.len()
            && values.last().is_some_and(|value| matches!(value.kind, Kind::Array | Kind::Null))
            && postgres::shape(element)? != TypeShape::Json;
        if last_is_array {
            shape = Shape::VariadicArray(values.len());
        } else if values.len() > fixed {
            types.truncate(fixed);
            types.resize(values.len(), element);
        } else {
            types.truncate(fixed);
        }
    }
    // As PostgreSQL: a VARIADIC parameter takes at least one value if it has no default.
    let needed = inputs.len().saturating_sub(function.defaults);
    if values.len() > types.len() || values.len() < needed {
        return Ok(None);
    }
    types.truncate(values.len());
    chosen(function, shape, types, values.to_vec())
}

fn named<'f, 'j>(function: &'f Function, values: &[(String, Json<'j>)]) -> Result<Option<Chosen<'f, 'j>>, Failure> {
    let inputs: Vec<&Parameter> = function.inputs().collect();
    let optional_from = inputs.len().saturating_sub(function.defaults);
    let sent = |parameter: &Parameter| values.iter().any(|(name, _)| Some(name) == parameter.name.as_ref());
    if inputs.iter().take(optional_from).any(|parameter| !sent(parameter)) {
        return Ok(None);
    }
    if function.variadic.is_some() && inputs.last().is_some_and(|last| !sent(last)) {
        // PostgreSQL takes names only if that of the VARIADIC parameter is among them. Without names it can be left out.
        let first = inputs.iter().take(values.len());
        let in_order = first.map(|input| values.iter().find(|(name, _)| Some(name) == input.name.as_ref()));
        let Some(arguments) = in_order.map(|found| found.map(|(_, value)| *value)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        return positional(function, &arguments);
    }
    let mut types = Vec::with_capacity(values.len());
    for (name, _) in values {
        match inputs.iter().find(|parameter| parameter.name.as_ref() == Some(name)) {
            Some(parameter) => types.push(parameter.type_oid),
            None => return Ok(None),
        }
    }
    let shape = Shape::Named(values.iter().map(|(name, _)| name.clone()).collect());
    chosen(function, shape, types, values.iter().map(|(_, value)| *value).collect())
}

fn chosen<'f, 'j>(
    function: &'f Function,
    shape: Shape,
    mut types: Vec<pg_sys::Oid>,
    arguments: Vec<Json<'j>>,
) -> Result<Option<Chosen<'f, 'j>>, Failure> {
    let declared = types.clone();
    polymorphic::resolve(&mut types, &arguments);
    let mut fit = 0;
    for ((type_oid, declared), argument) in types.iter().zip(&declared).zip(&arguments) {
        fit += match postgres::shape(*type_oid)? {
            TypeShape::Pseudo => return Ok(None),
            shape if type_oid == declared => affinity(argument.kind, *type_oid, shape),
            // A type that was made to fit is less than one that fits by itself.
            shape => affinity(argument.kind, *type_oid, shape).saturating_sub(2),
        }
    }
    // As PostgreSQL: fewer defaults, and no VARIADIC expansion, are better among equals.
    let inputs = function.inputs().count();
    fit = fit * 256 + 255 - u32::try_from(inputs.saturating_sub(arguments.len())).unwrap_or(255).min(127);
    if function.variadic.is_some() && shape == Shape::Positional(arguments.len()) {
        fit -= 1;
    }
    Ok(Some(Chosen { function, shape, types, arguments, fit }))
}

/// How well a kind of JSON fits a type, from 0 (only its input function may know) to 10 (just what it is).
fn affinity(kind: Kind, type_oid: pg_sys::Oid, shape: TypeShape) -> u32 {
    use TypeShape as T;
    match (kind, shape) {
        (Kind::Null, _) => 5,
        (Kind::Boolean, T::Bool) => 10,
        (Kind::Integer(number), T::Int2) if i16::try_from(number).is_ok() => 8,
        (Kind::Integer(number), T::Int4) if i32::try_from(number).is_ok() => 10,
        (Kind::Integer(_), T::Int8) => 9,
        (Kind::Integer(_) | Kind::Number, T::OtherNumber) => match type_oid {
            pg_sys::NUMERICOID => 7,
            pg_sys::FLOAT8OID => 6,
            _ => 5,
        },
        (Kind::String, T::Text) => {
            if type_oid == pg_sys::TEXTOID {
                10
            } else {
                9
            }
        }
        (Kind::String, T::Other) => 5,
        (Kind::String, T::Array | T::Composite) => 2,
        (Kind::Array, T::Array) | (Kind::Object, T::Composite) => 10,
        (Kind::Array | Kind::Object, T::Json) => 9,
        (_, T::Json) => 4,
        (Kind::Boolean | Kind::Integer(_) | Kind::Number, T::Text) => 3,
        (Kind::String, _) => 1,
        _ => 0,
    }
}

impl Chosen<'_, '_> {
    pub(super) fn key(&self) -> (u32, Shape, Vec<u32>) {
        (self.function.oid, self.shape.clone(), self.types.iter().map(|type_oid| type_oid.to_u32()).collect())
    }

    pub(super) fn types(&self) -> &[pg_sys::Oid] {
        &self.types
    }

    /// The statement. Every name in it comes from the catalog and is quoted by PostgreSQL; every value is a parameter.
    ///
    /// # Errors
    /// PostgreSQL's own: a type that is gone.
    pub(super) fn sql(&self) -> Result<String, Failure> {
        let name = format!("{}.{}", quote_identifier(&self.function.schema), quote_identifier(&self.function.name));
        let arguments = self.argument_list()?.join(", ");
        Ok(if self.function.is_procedure {
            format!("CALL {name}({arguments})")
        } else {
            format!("SELECT * FROM {name}({arguments})")
        })
    }

    fn argument_list(&self) -> Result<Vec<String>, Failure> {
        let place = |index: usize| format!("${}", index + 1);
        match &self.shape {
            Shape::Named(names) => {
                let variadic = self.function.variadic.and_then(|_| self.function.inputs().last()?.name.as_ref());
                let (mut list, last): (Vec<String>, Vec<String>) = {
                    let written = |(index, name): (usize, &String)| {
                        let mark = if Some(name) == variadic { "VARIADIC " } else { "" };
                        format!("{mark}{} => {}", quote_identifier(name), place(index))
                    };
                    names.iter().enumerate().map(written).partition(|argument| !argument.starts_with("VARIADIC "))
                };
                if self.function.is_procedure {
                    for parameter in self.function.parameters.iter().filter(|parameter| !parameter.is_input) {
                        if let Some(name) = &parameter.name {
                            list.push(format!("{} => {}", quote_identifier(name), typed_null(parameter)?));
                        }
                    }
                }
                // PostgreSQL wants the marked one last.
                list.extend(last);
                Ok(list)
            }
            Shape::Positional(count) | Shape::VariadicArray(count) => {
                let mut list: Vec<String> = (0..*count).map(place).collect();
                if let (Shape::VariadicArray(_), Some(last)) = (&self.shape, list.last_mut()) {
                    let mut with_keyword = String::from("VARIADIC ");
                    let _ = write!(with_keyword, "{last}");
                    *last = with_keyword;
                }
                // CALL takes a place for every OUT parameter too.
                if self.function.is_procedure {
                    for (index, parameter) in self.function.parameters.iter().enumerate() {
                        if !parameter.is_input && index <= list.len() {
                            list.insert(index, typed_null(parameter)?);
                        }
                    }
                }
                Ok(list)
            }
        }
    }
}

/// What stands in a CALL for an OUT parameter. A bare NULL would fit the procedures of that name that take text, and rather those.
fn typed_null(parameter: &Parameter) -> Result<String, Failure> {
    if postgres::shape(parameter.type_oid)? == TypeShape::Pseudo {
        return Ok("NULL".to_owned());
    }
    Ok(format!("NULL::{}", postgres::type_name(parameter.type_oid)?))
}
