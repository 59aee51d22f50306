//! Prepared calls: one saved SPI plan per way of calling a function, and values for its parameters.

use std::ffi::CString;

use pgrx::pg_sys;

use super::error::{PgError, catch};
use super::json_out::{JsonReceiver, Rows};
use super::memory::LastingMemory;

/// A value for a parameter; `None` is NULL. Lives in the memory context in which it was made, the transaction's.
#[derive(Clone, Copy)]
pub(crate) struct Value(Option<pg_sys::Datum>);

impl Value {
    pub(crate) const NULL: Value = Value(None);
}

/// A plan that outlives its transaction. PostgreSQL replans it when what it depends on changes.
pub(crate) struct Plan {
    plan: pg_sys::SPIPlanPtr,
    types: Vec<pg_sys::Oid>,
}

impl Plan {
    /// Prepares a statement with parameters of these types, inside a transaction.
    ///
    /// # Errors
    /// PostgreSQL's own, from parsing and analysis.
    pub(crate) fn prepare(sql: &str, types: &[pg_sys::Oid]) -> Result<Plan, PgError> {
        let sql = CString::new(sql).map_err(|_| PgError::new("22021", "the statement contains a zero byte"))?;
        let mut types = types.to_vec();
        // SAFETY: SPI is connected between connect and finish; the kept plan lives in CacheMemoryContext.
        let plan = catch(|| unsafe {
            pg_sys::SPI_connect();
            let plan = pg_sys::SPI_prepare(sql.as_ptr(), types.len() as i32, types.as_mut_ptr());
            if !plan.is_null() {
                pg_sys::SPI_keepplan(plan);
            }
            pg_sys::SPI_finish();
            plan
        })?;
        if plan.is_null() {
            Err(PgError::new("XX000", "the statement cannot be prepared"))
        } else {
            Ok(Plan { plan, types })
        }
    }

    /// Runs it; the rows are appended to `out` as JSON objects. Gives the text, as far as it was not sent, and the number of rows.
    ///
    /// # Errors
    /// PostgreSQL's own; 54000 when the text or a line grows too large.
    pub(crate) fn run(&self, values: &[Value], out: Vec<u8>, wanted: Rows) -> Result<(Vec<u8>, u64), PgError> {
        let mut receiver = JsonReceiver::new(out, wanted);
        // SAFETY: the parameter list is palloc'd for this execution; the receiver outlives it.
        catch(|| unsafe {
            pg_sys::SPI_connect();
            let options = pg_sys::SPIExecuteOptions {
                params: self.parameters(values),
                dest: receiver.as_dest(),
                ..pg_sys::SPIExecuteOptions::default()
            };
            let result = pg_sys::SPI_execute_plan_extended(self.plan, &options);
            pg_sys::SPI_finish();
            if result < 0 {
                pgrx::error!("the call could not be executed (SPI code {result})");
            }
        })?;
        Ok(receiver.finish())
    }

    /// Runs it for the one value of its one row, which is copied into the transaction's context.
    ///
    /// # Errors
    /// PostgreSQL's own.
    fn single(&self, values: &[Value]) -> Result<Value, PgError> {
        // SAFETY: as above; SPI_datumTransfer copies into the context that was current before SPI_connect.
        catch(|| unsafe {
            pg_sys::SPI_connect();
            let options =
                pg_sys::SPIExecuteOptions { params: self.parameters(values), ..pg_sys::SPIExecuteOptions::default() };
            pg_sys::SPI_execute_plan_extended(self.plan, &options);
            let table = pg_sys::SPI_tuptable;
            let mut value = Value::NULL;
            if !table.is_null() && pg_sys::SPI_processed == 1 {
                let descriptor = (*table).tupdesc;
                let mut is_null = false;
                let datum = pg_sys::SPI_getbinval(*(*table).vals, descriptor, 1, &mut is_null);
                if !is_null {
                    let attribute = super::version::attribute(descriptor, 0);
                    value =
                        Value(Some(pg_sys::SPI_datumTransfer(datum, attribute.attbyval, i32::from(attribute.attlen))));
                }
            }
            pg_sys::SPI_finish();
            value
        })
    }

    pub(super) fn kept(&self) -> pg_sys::SPIPlanPtr {
        self.plan
    }

    /// The values as PostgreSQL takes them, in the current memory context.
    pub(super) unsafe fn parameters(&self, values: &[Value]) -> pg_sys::ParamListInfo {
        if self.types.is_empty() {
            return std::ptr::null_mut();
        }
        // SAFETY: makeParamList makes room for as many entries as it is told.
        unsafe {
            let list = pg_sys::makeParamList(self.types.len() as i32);
            let entries = (*list).params.as_mut_ptr();
            for (index, type_oid) in self.types.iter().enumerate() {
                let value = values.get(index).copied().unwrap_or(Value::NULL).0;
                let entry = &mut *entries.add(index);
                entry.value = value.unwrap_or(pg_sys::Datum::null());
                entry.isnull = value.is_none();
                entry.pflags = pg_sys::PARAM_FLAG_CONST as u16;
                entry.ptype = *type_oid;
            }
            list
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: kept by `prepare`, freed once.
        let _ = catch(|| unsafe { pg_sys::SPI_freeplan(self.plan) });
    }
}

/// How text becomes a value of one type.
pub(crate) struct Input {
    type_oid: pg_sys::Oid,
    function: pg_sys::FmgrInfo,
    io_parameter: pg_sys::Oid,
    shape: Shape,
    /// For arrays and composites: PostgreSQL's own conversion from JSON.
    from_json: Option<Plan>,
    /// For arrays whose elements are JSON or, by a domain, arrays again: how each of them is made.
    element: Option<Box<Input>>,
    /// Where `function` keeps what it has looked up of the type.
    _memory: LastingMemory,
}

/// What JSON a type takes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Bool,
    Int2,
    Int4,
    Int8,
    OtherNumber,
    Text,
    Json,
    Array,
    Composite,
    /// What no value is of: `record`, `anyenum`.
    Pseudo,
    Other,
}

/// The shape of a type, through domains.
///
/// # Errors
/// An OID that is no type any more.
pub(crate) fn shape(type_oid: pg_sys::Oid) -> Result<Shape, PgError> {
    // SAFETY: catalog look-ups inside a transaction.
    catch(|| unsafe {
        let base = pg_sys::getBaseType(type_oid);
        match base {
            pg_sys::BOOLOID => Shape::Bool,
            pg_sys::INT2OID => Shape::Int2,
            pg_sys::INT4OID => Shape::Int4,
            pg_sys::INT8OID => Shape::Int8,
            pg_sys::FLOAT4OID | pg_sys::FLOAT8OID | pg_sys::NUMERICOID => Shape::OtherNumber,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::NAMEOID => Shape::Text,
            pg_sys::JSONOID | pg_sys::JSONBOID => Shape::Json,
            _ if pg_sys::get_typtype(base) as u8 == pg_sys::TYPTYPE_PSEUDO => Shape::Pseudo,
            _ if pg_sys::get_element_type(base) != pg_sys::InvalidOid => Shape::Array,
            _ if pg_sys::type_is_rowtype(base) => Shape::Composite,
            _ => Shape::Other,
        }
    })
}

/// A type as SQL, quoted and with its schema where it needs one.
///
/// # Errors
/// An OID that is no type any more.
pub(crate) fn type_name(type_oid: pg_sys::Oid) -> Result<String, PgError> {
    // "Without a length" must be said: `character` and `bit` are of length 1.
    let how = (pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_FORCE_QUALIFY) as u16;
    // SAFETY: a catalog look-up inside a transaction, which pallocs a string.
    let name = catch(|| unsafe { super::error::text(pg_sys::format_type_extended(type_oid, -1, how)) })?;
    Ok(name.unwrap_or_default())
}

impl Input {
    /// # Errors
    /// PostgreSQL's own: a pseudo-type, a shell type.
    pub(crate) fn new(type_oid: pg_sys::Oid) -> Result<Input, PgError> {
        let shape = shape(type_oid)?;
        // SAFETY: the function's info, and what the function keeps with it, is in a context that lives as long as this.
        let memory = LastingMemory::small();
        let (function, io_parameter) = catch(|| unsafe {
            let mut id = pg_sys::InvalidOid;
            let mut io_parameter = pg_sys::InvalidOid;
            pg_sys::getTypeInputInfo(type_oid, &mut id, &mut io_parameter);
            let mut function = pg_sys::FmgrInfo::default();
            pg_sys::fmgr_info_cxt(id, &mut function, memory.context());
            (function, io_parameter)
        })?;
        let from_json = match shape {
            Shape::Array | Shape::Composite => {
                let name = type_name(type_oid)?;
                let sql = format!("SELECT x.v FROM pg_catalog.json_to_record($1) AS x(v {name})");
                Some(Plan::prepare(&sql, &[pg_sys::JSONOID])?)
            }
            _ => None,
        };
        let element = match shape {
            Shape::Array => {
                // SAFETY: a catalog look-up. Of a domain it is none: its constraints would have to be checked.
                match catch(|| unsafe { pg_sys::get_element_type(type_oid) })? {
                    pg_sys::InvalidOid => None,
                    element if matches!(self::shape(element)?, Shape::Json | Shape::Array) => {
                        Some(Box::new(Input::new(element)?))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        Ok(Input { type_oid, function, io_parameter, shape, from_json, element, _memory: memory })
    }

    /// How each element of an array is made, if the array is not to be made by [`Input::value_of_structure`].
    pub(crate) fn element(&mut self) -> Option<&mut Input> {
        self.element.as_deref_mut()
    }

    /// The array of these, if [`Input::element`] is there.
    ///
    /// # Errors
    /// PostgreSQL's own: over 1 GB.
    pub(crate) fn array_of(&self, values: &[Value]) -> Result<Value, PgError> {
        let Some(element) = &self.element else { return Ok(Value::NULL) };
        let mut datums: Vec<_> = values.iter().map(|value| value.0.unwrap_or(pg_sys::Datum::null())).collect();
        let mut nulls: Vec<bool> = values.iter().map(|value| value.0.is_none()).collect();
        // SAFETY: one dimension of as many values as both lists have; the array is a palloc'd copy of all.
        catch(|| unsafe {
            let (mut length, mut by_value, mut alignment) = (0, false, 0);
            pg_sys::get_typlenbyvalalign(element.type_oid, &mut length, &mut by_value, &mut alignment);
            let array = if values.is_empty() {
                pg_sys::construct_empty_array(element.type_oid)
            } else {
                pg_sys::construct_md_array(
                    datums.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                    1,
                    [values.len() as i32].as_mut_ptr(),
                    [1].as_mut_ptr(),
                    element.type_oid,
                    i32::from(length),
                    by_value,
                    alignment,
                )
            };
            Value(Some(pg_sys::Datum::from(array)))
        })
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// By the type's input function, as a quoted literal would be.
    ///
    /// # Errors
    /// 22P02 and whatever else the input function raises.
    pub(crate) fn value_of_text(&mut self, text: &str) -> Result<Value, PgError> {
        let text = CString::new(text).map_err(|_| {
            PgError::new("22021", "a string contains the character \\u0000, which PostgreSQL cannot store")
        })?;
        // SAFETY: input functions read the string and palloc their result.
        catch(|| unsafe {
            Value(Some(pg_sys::InputFunctionCall(&mut self.function, text.as_ptr().cast_mut(), self.io_parameter, -1)))
        })
    }

    /// Whether the type takes NULL. An input function is strict, so it is asked as PostgreSQL asks it: a domain's runs all the same.
    ///
    /// # Errors
    /// 23502 of a domain that is NOT NULL.
    pub(crate) fn check_null(&mut self) -> Result<(), PgError> {
        // SAFETY: InputFunctionCall takes a null string, and calls only functions that are not strict with it.
        catch(|| unsafe {
            pg_sys::InputFunctionCall(&mut self.function, std::ptr::null_mut(), self.io_parameter, -1);
        })
    }

    /// From a JSON array or object, as `json_to_record` does it.
    ///
    /// # Errors
    /// PostgreSQL's own; 22P02 for a type that has no such form.
    pub(crate) fn value_of_structure(&mut self, json: &str) -> Result<Value, PgError> {
        let Some(plan) = &self.from_json else { return self.value_of_text(json) };
        let record = format!("{{\"v\":{json}}}");
        // SAFETY: cstring_to_text_with_len copies the bytes.
        let text = catch(|| unsafe {
            Value(Some(pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(
                record.as_ptr().cast(),
                record.len() as i32,
            ))))
        })?;
        plan.single(&[text])
    }

    /// An integer, where the type is one of the integers and the number fits; otherwise the input function says what is wrong.
    pub(crate) fn value_of_integer(&self, number: i64) -> Option<Value> {
        match self.shape {
            Shape::Int2 => i16::try_from(number).ok().map(|n| Value(Some(pg_sys::Datum::from(n)))),
            Shape::Int4 => i32::try_from(number).ok().map(|n| Value(Some(pg_sys::Datum::from(n)))),
            Shape::Int8 => Some(Value(Some(pg_sys::Datum::from(number)))),
            _ => None,
        }
        // A domain's constraints are checked by its input function only.
        .filter(|_| matches!(self.type_oid, pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID))
    }
}

/// The parts of a name as SQL writes it, folded and unquoted.
///
/// # Errors
/// 42602 or 22023 for what is no name.
pub(crate) fn identifiers(name: &str) -> Result<Vec<String>, PgError> {
    let text = CString::new(name).map_err(|_| PgError::new("22021", "the name contains a zero byte"))?;
    // SAFETY: stringToQualifiedNameList copies the string and gives a list of String nodes.
    catch(|| unsafe { super::nodes::names(super::version::qualified_name_list(text.as_ptr())) })
}

/// A name as SQL writes it, quoted where it must be, by PostgreSQL's own rule.
pub(crate) fn quote_identifier(name: &str) -> String {
    pgrx::spi::quote_identifier(name)
}

/// Counts invalidations of functions, types and namespaces in this process: what was resolved before the last one may be stale.
pub(crate) mod invalidation {
    use std::cell::{Cell, RefCell};

    use pgrx::pg_sys;

    thread_local! {
        static GENERATION: Cell<u64> = const { Cell::new(0) };
        static FOREIGN: Cell<u64> = const { Cell::new(0) };
        static MESSAGES: Cell<u64> = const { Cell::new(0) };
        static RELATIONS: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
    }

    /// Starts counting; once per process.
    pub(crate) fn watch() {
        for cache in [
            pg_sys::SysCacheIdentifier::PROCOID,
            pg_sys::SysCacheIdentifier::TYPEOID,
            pg_sys::SysCacheIdentifier::NAMESPACEOID,
        ] {
            // SAFETY: the callback is a plain function that lives as long as the library.
            unsafe { pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(bump), pg_sys::Datum::null()) }
        }
        // SAFETY: as above.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(bump_for_relation), pg_sys::Datum::null()) }
    }

    /// Counts changes of a relation too: a function returns its rows, and the columns of `SELECT * FROM f()` are fixed in a plan.
    pub(crate) fn watch_relation(relation: pg_sys::Oid) {
        RELATIONS.with_borrow_mut(|relations| {
            if !relations.contains(&relation) {
                relations.push(relation);
            }
        });
    }

    unsafe extern "C-unwind" fn bump_for_relation(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
        note();
        let watched = RELATIONS.with(|relations| {
            relations
                .try_borrow()
                .is_ok_and(|relations| relation == pg_sys::InvalidOid || relations.contains(&relation))
        });
        if watched {
            GENERATION.set(GENERATION.get().wrapping_add(1));
        }
    }

    pub(crate) fn generation() -> u64 {
        GENERATION.get()
    }

    /// A state of the catalog, of which all relations are a part: what a body uses, nobody knows.
    #[derive(Clone, Copy)]
    pub(crate) struct Seen(u64);

    impl Seen {
        /// As this process sees it now.
        pub(crate) fn now() -> Seen {
            MESSAGES.set(messages());
            Seen(FOREIGN.get())
        }

        /// Whether another process has changed it since, in what this one has read.
        pub(crate) fn is_outdated(self) -> bool {
            FOREIGN.get() != self.0
        }
    }

    /// How many messages of the shared queue this process has read.
    fn messages() -> u64 {
        // SAFETY: a plain number of this process's own.
        unsafe { pg_sys::SharedInvalidMessageCounter }
    }

    /// Something is invalid. It was another process if a message was read for it: what the own transaction changes, by a temporary table for
    /// example, is invalid at once and announced to nobody before the commit.
    fn note() {
        let messages = messages();
        if MESSAGES.replace(messages) != messages {
            FOREIGN.set(FOREIGN.get().wrapping_add(1));
        }
    }

    unsafe extern "C-unwind" fn bump(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
        note();
        GENERATION.set(GENERATION.get().wrapping_add(1));
    }
}
