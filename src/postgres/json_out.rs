//! Rows to JSON, straight from the executor's slots.
//!
//! Every value is what PostgreSQL's `to_json` says of it. Common types are written here without calling it; everything else goes
//! through it. Times with a zone are in UTC whatever the session's TimeZone is.

use std::ffi::CStr;

use pgrx::pg_sys;

use stonescriptdb_protocol::{ErrorCode, Failure};

use super::error::{PgError, guard};

/// Sends the text so far, which holds so many rows since the beginning, and takes it away but for the room for a head.
pub(crate) type Send<'s> = dyn FnMut(&mut Vec<u8>, u64) -> Result<(), Failure> + 's;

/// How rows are written.
pub(crate) enum Rows<'s> {
    /// With commas between them, into one text of so many bytes at most.
    Whole(usize),
    /// A line each, of so many bytes at most. What fills a chunk is sent.
    Lines(usize, &'s mut Send<'s>),
}

/// Bytes from which on lines are sent.
const CHUNK: usize = 64 * 1024;

/// A DestReceiver that writes one JSON object per row.
#[repr(C)]
pub(super) struct JsonReceiver<'s> {
    // First, so that a pointer to it is a pointer to this.
    receiver: pg_sys::DestReceiver,
    columns: Vec<Column>,
    out: Vec<u8>,
    rows: u64,
    wanted: Rows<'s>,
    utc: *mut pg_sys::pg_tz,
}

struct Column {
    /// `"name":`, escaped, with the comma before it but for the first.
    label: Vec<u8>,
    writer: Writer,
}

enum Writer {
    Void,
    Bool,
    Int2,
    Int4,
    Int8,
    /// float4, float8, numeric: digits, quoted where they are no JSON number (NaN, Infinity).
    Digits(pg_sys::FmgrInfo),
    /// text and varchar.
    Text,
    Json,
    Jsonb,
    /// date, timestamp, timestamptz.
    DateTime(pg_sys::Oid),
    /// `to_json` itself.
    ToJson(pg_sys::FmgrInfo),
}

impl<'s> JsonReceiver<'s> {
    /// `out` is what stands before the first row.
    pub(super) fn new(out: Vec<u8>, wanted: Rows<'s>) -> Box<JsonReceiver<'s>> {
        // SAFETY: the zone "GMT" is built in and cached by the server for the life of the process.
        let utc = unsafe { pg_sys::pg_tzset(c"GMT".as_ptr()) };
        Box::new(JsonReceiver {
            receiver: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(startup),
                rShutdown: Some(nothing),
                rDestroy: Some(nothing),
                mydest: pg_sys::CommandDest::DestNone,
            },
            columns: Vec::new(),
            out,
            rows: 0,
            wanted,
            utc,
        })
    }

    pub(super) fn as_dest(&mut self) -> *mut pg_sys::DestReceiver {
        &mut self.receiver
    }

    /// The text that was not sent, and the number of all rows.
    pub(super) fn finish(self) -> (Vec<u8>, u64) {
        (self.out, self.rows)
    }
}

unsafe extern "C-unwind" fn nothing(_receiver: *mut pg_sys::DestReceiver) {}

unsafe extern "C-unwind" fn startup(
    receiver: *mut pg_sys::DestReceiver,
    _operation: i32,
    descriptor: pg_sys::TupleDesc,
) {
    // SAFETY: called by the executor with the receiver it was given.
    unsafe {
        guard(
            || {
                let this = &mut *receiver.cast::<JsonReceiver>();
                this.columns = columns(descriptor);
                Ok(())
            },
            no_context,
        );
    }
}

unsafe extern "C-unwind" fn receive(slot: *mut pg_sys::TupleTableSlot, receiver: *mut pg_sys::DestReceiver) -> bool {
    // SAFETY: as in `startup`; the slot is alive for the call.
    unsafe { guard(|| (*receiver.cast::<JsonReceiver>()).row(slot), no_context) }
}

fn no_context(_failure: &Failure) -> String {
    String::new()
}

unsafe fn columns(descriptor: pg_sys::TupleDesc) -> Vec<Column> {
    // SAFETY: a live descriptor with `natts` attributes.
    unsafe {
        (0..(*descriptor).natts)
            .map(|index| {
                let attribute = super::version::attribute(descriptor, index as usize);
                let mut label = if index == 0 { Vec::new() } else { vec![b','] };
                let name = CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes();
                write_string(&mut label, name);
                label.push(b':');
                Column { label, writer: writer(attribute.atttypid) }
            })
            .collect()
    }
}

unsafe fn writer(type_oid: pg_sys::Oid) -> Writer {
    // SAFETY: catalog look-ups inside a transaction; function info goes into the current context, which outlives the rows.
    unsafe {
        match pg_sys::getBaseType(type_oid) {
            pg_sys::VOIDOID => Writer::Void,
            pg_sys::BOOLOID => Writer::Bool,
            pg_sys::INT2OID => Writer::Int2,
            pg_sys::INT4OID => Writer::Int4,
            pg_sys::INT8OID => Writer::Int8,
            base @ (pg_sys::FLOAT4OID | pg_sys::FLOAT8OID | pg_sys::NUMERICOID) => {
                let mut function = pg_sys::InvalidOid;
                let mut is_varlena = false;
                pg_sys::getTypeOutputInfo(base, &mut function, &mut is_varlena);
                let mut info = pg_sys::FmgrInfo::default();
                pg_sys::fmgr_info(function, &mut info);
                Writer::Digits(info)
            }
            pg_sys::TEXTOID | pg_sys::VARCHAROID => Writer::Text,
            pg_sys::JSONOID => Writer::Json,
            pg_sys::JSONBOID => Writer::Jsonb,
            base @ (pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID) => Writer::DateTime(base),
            _ => {
                // to_json asks its call expression for the type of its argument.
                let argument = pg_sys::makeNullConst(type_oid, -1, pg_sys::InvalidOid);
                let expression = pg_sys::makeFuncExpr(
                    pg_sys::Oid::from(pg_sys::F_TO_JSON),
                    pg_sys::JSONOID,
                    pg_sys::lappend(std::ptr::null_mut(), argument.cast()),
                    pg_sys::InvalidOid,
                    pg_sys::InvalidOid,
                    pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
                );
                let mut info = pg_sys::FmgrInfo::default();
                pg_sys::fmgr_info(pg_sys::Oid::from(pg_sys::F_TO_JSON), &mut info);
                info.fn_expr = expression.cast();
                Writer::ToJson(info)
            }
        }
    }
}

impl JsonReceiver<'_> {
    unsafe fn row(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<bool, Failure> {
        // SAFETY: the slot holds as many attributes as its descriptor says once they are fetched.
        unsafe {
            let count = self.columns.len();
            if ((*slot).tts_nvalid as usize) < count {
                pg_sys::slot_getsomeattrs_int(slot, count as i32);
            }
            let begun = self.out.len();
            let is_next = self.rows > 0 && matches!(self.wanted, Rows::Whole(_));
            self.out.extend_from_slice(if is_next { b",{" } else { b"{" });
            let zone = std::ptr::replace(&raw mut pg_sys::session_timezone, self.utc);
            let zone = RestoreZone(zone);
            for (index, column) in self.columns.iter_mut().enumerate() {
                self.out.extend_from_slice(&column.label);
                if *(*slot).tts_isnull.add(index) {
                    self.out.extend_from_slice(b"null");
                } else {
                    write_value(&mut self.out, &mut column.writer, *(*slot).tts_values.add(index));
                }
            }
            drop(zone);
            self.out.push(b'}');
            self.rows += 1;
            self.end_of_row(begun)
        }
    }

    /// Looks at how much there is now; the last row begins at `begun`.
    fn end_of_row(&mut self, begun: usize) -> Result<bool, Failure> {
        let length = self.out.len();
        match &mut self.wanted {
            Rows::Whole(most) if length > *most => {
                Err(too_large(format!("the result has over {most} bytes of JSON"), "Ask for fewer rows, or raise"))
            }
            Rows::Whole(_) => Ok(true),
            Rows::Lines(most, _) if length - begun > *most => {
                Err(too_large(format!("a row has over {most} bytes of JSON"), "Raise"))
            }
            Rows::Lines(_, send) => {
                self.out.push(b'\n');
                if length >= CHUNK {
                    send(&mut self.out, self.rows)?;
                }
                Ok(true)
            }
        }
    }
}

fn too_large(message: String, way_out: &str) -> Failure {
    let failure =
        Failure::new(ErrorCode::QueryFailed, message).hint(format!("{way_out} stonescriptdb.max_result_size."));
    Failure { sqlstate: Some("54000".to_owned()), ..failure }
}

/// Puts the session's zone back, on an ERROR too: an output function may raise.
struct RestoreZone(*mut pg_sys::pg_tz);

impl Drop for RestoreZone {
    fn drop(&mut self) {
        // SAFETY: the pointer that was there before.
        unsafe { pg_sys::session_timezone = self.0 }
    }
}

unsafe fn write_value(out: &mut Vec<u8>, writer: &mut Writer, value: pg_sys::Datum) {
    // SAFETY: the writer was chosen by the value's type.
    unsafe {
        match writer {
            Writer::Void => out.extend_from_slice(b"null"),
            Writer::Bool => out.extend_from_slice(if value.value() as u8 != 0 { b"true" } else { b"false" }),
            Writer::Int2 => write_integer(out, i64::from(value.value() as i16)),
            Writer::Int4 => write_integer(out, i64::from(value.value() as i32)),
            Writer::Int8 => write_integer(out, value.value() as i64),
            Writer::Digits(info) => {
                let digits = pg_sys::OutputFunctionCall(info, value);
                let text = CStr::from_ptr(digits).to_bytes();
                if text.last().is_some_and(u8::is_ascii_digit) {
                    out.extend_from_slice(text);
                } else {
                    write_string(out, text);
                }
                pg_sys::pfree(digits.cast());
            }
            Writer::Text => with_varlena(value, |bytes| write_string(out, bytes)),
            Writer::Json => with_varlena(value, |bytes| out.extend_from_slice(bytes)),
            Writer::Jsonb => {
                let detoasted = pg_sys::pg_detoast_datum(value.cast_mut_ptr());
                let json = detoasted.cast::<pg_sys::Jsonb>();
                let size = pgrx::varsize_any(detoasted) as i32;
                let text = pg_sys::JsonbToCString(std::ptr::null_mut(), &raw mut (*json).root, size);
                out.extend_from_slice(CStr::from_ptr(text).to_bytes());
                pg_sys::pfree(text.cast());
                free_copy(detoasted, value);
            }
            Writer::DateTime(kind) => {
                // MAXDATELEN of utils/datetime.h is 128.
                let mut buffer = [0 as std::ffi::c_char; 129];
                let utc = 0;
                let zone = if *kind == pg_sys::TIMESTAMPTZOID { &raw const utc } else { std::ptr::null() };
                let text = pg_sys::JsonEncodeDateTime(buffer.as_mut_ptr(), value, *kind, zone);
                out.push(b'"');
                out.extend_from_slice(CStr::from_ptr(text).to_bytes());
                out.push(b'"');
            }
            Writer::ToJson(info) => {
                let json = pg_sys::FunctionCall1Coll(info, pg_sys::InvalidOid, value);
                with_varlena(json, |bytes| out.extend_from_slice(bytes));
                pg_sys::pfree(json.cast_mut_ptr());
            }
        }
    }
}

/// The bytes of a text-like value, detoasted if need be.
unsafe fn with_varlena(value: pg_sys::Datum, f: impl FnOnce(&[u8])) {
    // SAFETY: the value is a varlena; a detoasted copy is freed after use.
    unsafe {
        let detoasted = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
        f(std::slice::from_raw_parts(pgrx::vardata_any(detoasted).cast::<u8>(), pgrx::varsize_any_exhdr(detoasted)));
        free_copy(detoasted, value);
    }
}

unsafe fn free_copy(detoasted: *mut pg_sys::varlena, value: pg_sys::Datum) {
    if detoasted != value.cast_mut_ptr() {
        // SAFETY: detoasting made a palloc'd copy.
        unsafe { pg_sys::pfree(detoasted.cast()) }
    }
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(value).as_bytes());
}

/// A JSON string, escaped as `escape_json` of utils/adt/json.c does.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut clean = 0;
    for (index, byte) in text.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0..0x20 => {
                out.extend_from_slice(text.get(clean..index).unwrap_or_default());
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                clean = index + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(text.get(clean..index).unwrap_or_default());
        out.extend_from_slice(escaped);
        clean = index + 1;
    }
    out.extend_from_slice(text.get(clean..).unwrap_or_default());
    out.push(b'"');
}

/// Refuses databases whose text is not UTF-8: what a worker writes goes out as JSON, which is.
pub(crate) fn require_utf8() -> Result<(), PgError> {
    // SAFETY: reads a setting of the connected database.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    if encoding == pg_sys::pg_enc::PG_UTF8 as i32 {
        return Ok(());
    }
    Err(PgError::new("0A000", "the database's encoding is not UTF8, which calls and deployments need"))
}
