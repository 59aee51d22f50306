//! Statements whose plans are kept, by text: to parse and plan one takes longer than to run it.
//!
//! They are for statements that find few rows by a key. How rows of many databases are best joined depends on how many there are at the
//! time: such statements are planned each time.
//!
//! PostgreSQL makes a plan anew when something that it depends on changes, a table dropped and made again included.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::datum::DatumWithOid;
use pgrx::spi::{OwnedPreparedStatement, SpiTupleTable};
use pgrx::{FromDatum, IntoDatum, PgOid, Spi, pg_sys};

use crate::postgres::{PgError, session};
use crate::query::{self, Argument};

/// So long a plan is good where tables grow. ANALYZE of a table ends its plans before.
const LIFE_WHERE_TABLES_GROW: Duration = Duration::from_secs(60);

/// A plan, and the types of its parameters.
struct Kept {
    types: Vec<pg_sys::Oid>,
    made: Instant,
    statement: OwnedPreparedStatement,
}

thread_local! {
    static READING: RefCell<HashMap<&'static str, Kept>> = RefCell::new(HashMap::new());
    static WRITING: RefCell<HashMap<&'static str, Kept>> = RefCell::new(HashMap::new());
    /// How long plans are kept; none is as long as the process lives.
    static LIFE: Cell<Option<Duration>> = const { Cell::new(None) };
}

type Place = std::thread::LocalKey<RefCell<HashMap<&'static str, Kept>>>;

/// Runs a query that changes nothing; `f` gets its rows. Until something has changed in the transaction ([`update`]), it sees what was
/// committed when that began.
///
/// # Errors
/// PostgreSQL's own, or that of `f`.
pub(crate) fn select<T, E: From<PgError>>(
    sql: &'static str,
    arguments: &[Argument],
    f: impl FnOnce(SpiTupleTable) -> Result<T, E>,
) -> Result<T, E> {
    let arguments = query::datums(arguments)?;
    Spi::connect(|client| {
        let kept =
            taken(&READING, sql, &arguments, |types| Ok(client.prepare(sql, types)?.keep())).map_err(PgError::from)?;
        let result = f(client.select(&kept.statement, None, &arguments).map_err(PgError::from)?);
        put_back(&READING, sql, kept);
        result
    })
}

/// Runs a statement that may change something, or waits for a lock; `f` gets the rows that it returns. It and all statements after it see
/// what was committed when they begin.
///
/// # Errors
/// PostgreSQL's own, or that of `f`.
pub(crate) fn update<T, E: From<PgError>>(
    sql: &'static str,
    arguments: &[Argument],
    f: impl FnOnce(SpiTupleTable) -> Result<T, E>,
) -> Result<T, E> {
    let arguments = query::datums(arguments)?;
    Spi::connect_mut(|client| {
        let kept = taken(&WRITING, sql, &arguments, |types| Ok(client.prepare_mut(sql, types)?.keep()))
            .map_err(PgError::from)?;
        let result = f(client.update(&kept.statement, None, &arguments).map_err(PgError::from)?);
        put_back(&WRITING, sql, kept);
        result
    })
}

/// The value in the one column of a query's first row.
///
/// # Errors
/// PostgreSQL's own.
pub(crate) fn one<T: FromDatum + IntoDatum>(sql: &'static str, arguments: &[Argument]) -> Result<Option<T>, PgError> {
    select(sql, arguments, |mut rows| {
        Ok::<_, PgError>(rows.next().map(|row| row.get::<T>(1)).transpose().map_err(PgError::from)?.flatten())
    })
}

/// The value in the one column of the first row of a query that changes nothing; its plan is not kept. `Spi::get_one` would take a
/// transaction id for it, which costs a record in the log each time and cannot be had on a standby.
///
/// # Errors
/// PostgreSQL's own.
pub(crate) fn look<T: FromDatum + IntoDatum>(sql: &str, arguments: &[Argument]) -> Result<Option<T>, PgError> {
    let arguments = query::datums(arguments)?;
    Spi::connect(|client| {
        let mut rows = client.select(sql, Some(1), &arguments)?;
        rows.next().map_or(Ok(None), |row| row.get::<T>(1))
    })
    .map_err(PgError::from)
}

/// The statement, taken out of the kept ones: an ERROR on the way drops it, and the next time it is prepared anew.
fn taken(
    place: &'static Place,
    sql: &'static str,
    arguments: &[DatumWithOid],
    prepare: impl FnOnce(&[PgOid]) -> Result<OwnedPreparedStatement, pgrx::spi::Error>,
) -> Result<Kept, pgrx::spi::Error> {
    let types: Vec<pg_sys::Oid> = arguments.iter().map(DatumWithOid::oid).collect();
    let known = place.with(|kept| kept.try_borrow_mut().ok()?.remove(sql));
    match known {
        Some(known) if known.types == types && LIFE.get().is_none_or(|life| known.made.elapsed() < life) => Ok(known),
        _ => {
            let oids: Vec<PgOid> = types.iter().copied().map(PgOid::from).collect();
            Ok(Kept { statement: prepare(&oids)?, types, made: Instant::now() })
        }
    }
}

fn put_back(place: &'static Place, sql: &'static str, kept: Kept) {
    place.with(|all| all.try_borrow_mut().ok().and_then(|mut all| all.insert(sql, kept)));
}

/// For an executor of the control database. Its plans are made without a look at the values of parameters, and so made once: by itself
/// PostgreSQL makes the first five anew. They are not kept for ever, for the tables grow, and are often planned when they are empty.
pub(crate) fn for_tables_that_grow() {
    if LIFE.replace(Some(LIFE_WHERE_TABLES_GROW)).is_none() {
        let _ = session::set_default(c"plan_cache_mode", c"force_generic_plan");
    }
}
