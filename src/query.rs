//! Statements of this extension's own and their parameters, which are plain data until the statement runs.
//!
//! A datum that is made before there is a transaction lies in memory that nobody frees, and to make one of an array ends the process: the
//! catalog, which has to say what an array is made of, can be asked within a transaction only. So nobody makes datums but the functions
//! here and in [`kept`](crate::kept), which look for the transaction first.

use pgrx::datum::DatumWithOid;
use pgrx::spi::SpiTupleTable;
use pgrx::{FromDatum, IntoDatum, Spi};

use crate::postgres::{PgError, in_transaction};

/// A parameter of a statement: the value, and how it becomes a datum.
pub(crate) struct Argument<'a>(Box<dyn Fn() -> DatumWithOid<'a> + 'a>);

impl<'a, T: IntoDatum + Clone + 'a> From<T> for Argument<'a> {
    fn from(value: T) -> Argument<'a> {
        Argument(Box::new(move || value.clone().into()))
    }
}

/// The datums of parameters, in the memory of the transaction.
///
/// # Errors
/// 25P01: there is none, a fault of stonescriptdb.
pub(crate) fn datums<'a>(arguments: &[Argument<'a>]) -> Result<Vec<DatumWithOid<'a>>, PgError> {
    require_transaction()?;
    Ok(arguments.iter().map(|Argument(make)| make()).collect())
}

fn require_transaction() -> Result<(), PgError> {
    if in_transaction() {
        Ok(())
    } else {
        Err(PgError::new("25P01", "a statement outside of a transaction, a fault of stonescriptdb"))
    }
}

/// Runs a statement for its effect.
///
/// # Errors
/// PostgreSQL's own, also of the functions below.
pub(crate) fn run(sql: &str, arguments: &[Argument]) -> Result<(), PgError> {
    Ok(Spi::run_with_args(sql, &datums(arguments)?)?)
}

/// The value in the first column of a statement's first row, which may change something.
pub(crate) fn one<T: FromDatum + IntoDatum>(sql: &str, arguments: &[Argument]) -> Result<Option<T>, PgError> {
    Ok(Spi::get_one_with_args::<T>(sql, &datums(arguments)?)?)
}

/// The same of the first two columns.
pub(crate) fn two<A: FromDatum + IntoDatum, B: FromDatum + IntoDatum>(
    sql: &str,
    arguments: &[Argument],
) -> Result<(Option<A>, Option<B>), PgError> {
    Ok(Spi::get_two_with_args::<A, B>(sql, &datums(arguments)?)?)
}

/// Runs a query that changes nothing; `f` gets its rows.
///
/// # Errors
/// PostgreSQL's own, or that of `f`.
pub(crate) fn select<T, E: From<PgError>>(
    sql: &str,
    arguments: &[Argument],
    f: impl FnOnce(SpiTupleTable) -> Result<T, E>,
) -> Result<T, E> {
    let arguments = datums(arguments)?;
    Spi::connect(|client| f(client.select(sql, None, &arguments).map_err(PgError::from)?))
}

/// Runs a statement that may change something, or takes locks; `f` gets the rows that it returns.
///
/// # Errors
/// PostgreSQL's own, or that of `f`.
pub(crate) fn update<T, E: From<PgError>>(
    sql: &str,
    arguments: &[Argument],
    f: impl FnOnce(SpiTupleTable) -> Result<T, E>,
) -> Result<T, E> {
    let arguments = datums(arguments)?;
    Spi::connect_mut(|client| f(client.update(sql, None, &arguments).map_err(PgError::from)?))
}
