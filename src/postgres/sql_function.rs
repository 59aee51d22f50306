//! Functions callable from SQL whose errors keep everything: any SQLSTATE, and the context of the process where they arose.
//!
//! pgrx's `#[pg_extern]` would narrow both (see error.rs), so these follow PostgreSQL's version-1 calling convention by hand. The Rust
//! code runs to its end, its values are dropped, and only then is the error thrown.

use pgrx::pg_sys;
use stonescriptdb_protocol::Failure;

use super::error::{guard, text};

/// What such a function returns.
pub(crate) enum Returned {
    /// Text that is valid JSON.
    Jsonb(Vec<u8>),
    Void,
}

/// The arguments of a call.
pub(crate) struct Arguments(pg_sys::FunctionCallInfo);

impl Arguments {
    fn datum(&self, index: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the SQL declaration says how many there are; an index beyond is a bug caught here.
        unsafe {
            if index >= (*self.0).nargs as usize {
                return None;
            }
            let argument = &*(*self.0).args.as_ptr().add(index);
            (!argument.isnull).then_some(argument.value)
        }
    }

    /// A `text` argument; `None` for NULL.
    pub(crate) fn text(&self, index: usize) -> Option<String> {
        // SAFETY: declared as text in SQL.
        self.datum(index).and_then(|datum| unsafe { text(pg_sys::text_to_cstring(datum.cast_mut_ptr())) })
    }

    /// A `bytea` argument.
    pub(crate) fn bytes(&self, index: usize) -> Option<Vec<u8>> {
        self.datum(index).map(|datum| {
            // SAFETY: declared as bytea in SQL; the bytes are copied.
            unsafe {
                let value = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
                std::slice::from_raw_parts(pgrx::vardata_any(value).cast::<u8>(), pgrx::varsize_any_exhdr(value))
                    .to_vec()
            }
        })
    }

    /// A `boolean` argument; false for NULL.
    pub(crate) fn boolean(&self, index: usize) -> bool {
        self.datum(index).is_some_and(|datum| datum.value() as u8 != 0)
    }

    /// Whether an argument is NULL.
    pub(crate) fn is_null(&self, index: usize) -> bool {
        self.datum(index).is_none()
    }

    /// An `integer` argument; `None` for NULL.
    pub(crate) fn integer(&self, index: usize) -> Option<i32> {
        self.datum(index).map(|datum| datum.value() as i32)
    }

    /// A `uuid` argument as text; `None` for NULL.
    pub(crate) fn uuid(&self, index: usize) -> Option<String> {
        self.datum(index).map(|datum| {
            // SAFETY: declared as uuid in SQL, which is 16 bytes behind a pointer.
            let bytes = unsafe { *datum.cast_mut_ptr::<[u8; 16]>() };
            uuid::Uuid::from_bytes(bytes).to_string()
        })
    }

    /// A `text[]` argument without its NULLs; empty for NULL.
    pub(crate) fn texts(&self, index: usize) -> Vec<String> {
        use pgrx::FromDatum;
        // SAFETY: declared as text[] in SQL.
        self.datum(index)
            .and_then(|datum| unsafe { Vec::<Option<String>>::from_datum(datum, false) })
            .unwrap_or_default()
            .into_iter()
            .flatten()
            .collect()
    }

    /// A `jsonb` argument as JSON text.
    pub(crate) fn json(&self, index: usize) -> Option<String> {
        self.datum(index).and_then(|datum| {
            // SAFETY: declared as jsonb in SQL.
            unsafe {
                let value = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
                let json = value.cast::<pg_sys::Jsonb>();
                text(pg_sys::JsonbToCString(
                    std::ptr::null_mut(),
                    &raw mut (*json).root,
                    pgrx::varsize_any(value) as i32,
                ))
            }
        })
    }
}

/// The body of a version-1 function: runs `body` and returns its value or throws its error.
///
/// # Safety
/// `fcinfo` must be what PostgreSQL called the function with; nothing in the caller's frame may need dropping.
pub(crate) unsafe fn answer(
    fcinfo: pg_sys::FunctionCallInfo,
    body: fn(&Arguments) -> Result<Returned, Failure>,
) -> pg_sys::Datum {
    // SAFETY: the caller's promise.
    unsafe { guard(|| body(&Arguments(fcinfo)).map(datum), crate::error::context_line) }
}

fn datum(returned: Returned) -> pg_sys::Datum {
    match returned {
        Returned::Void => pg_sys::Datum::null(),
        Returned::Jsonb(json) => {
            let json = std::ffi::CString::new(json).unwrap_or_default();
            // SAFETY: jsonb_in reads the string and pallocs its result.
            unsafe {
                pg_sys::OidInputFunctionCall(
                    pg_sys::Oid::from(pg_sys::F_JSONB_IN),
                    json.as_ptr().cast_mut(),
                    pg_sys::JSONBOID,
                    -1,
                )
            }
        }
    }
}

/// Exports a version-1 function and its record.
macro_rules! sql_function {
    ($name:ident, $info:ident, $body:path) => {
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C-unwind" fn $name(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            // SAFETY: called by PostgreSQL only, by the convention that the record below declares.
            unsafe { $crate::postgres::sql_function::answer(fcinfo, $body) }
        }

        #[unsafe(no_mangle)]
        pub(crate) extern "C-unwind" fn $info() -> *const pgrx::pg_sys::Pg_finfo_record {
            static RECORD: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &RECORD
        }
    };
}

sql_function!(stonescriptdb_register, pg_finfo_stonescriptdb_register, crate::sql_api::register);
sql_function!(stonescriptdb_migrate, pg_finfo_stonescriptdb_migrate, crate::sql_api::migrate);
sql_function!(stonescriptdb_call, pg_finfo_stonescriptdb_call, crate::sql_api::call);
sql_function!(stonescriptdb_call_batch, pg_finfo_stonescriptdb_call_batch, crate::sql_api::call_batch);
sql_function!(stonescriptdb_create_tenant, pg_finfo_stonescriptdb_create_tenant, crate::sql_api::create_tenant);
sql_function!(stonescriptdb_drop_tenant, pg_finfo_stonescriptdb_drop_tenant, crate::sql_api::drop_tenant);
sql_function!(stonescriptdb_migrate_all, pg_finfo_stonescriptdb_migrate_all, crate::sql_api::migrate_all);
sql_function!(stonescriptdb_upload_schema, pg_finfo_stonescriptdb_upload_schema, crate::sql_api::upload_schema);
sql_function!(stonescriptdb_create_database, pg_finfo_stonescriptdb_create_database, crate::sql_api::create_database);
sql_function!(
    stonescriptdb_cancel_deployment,
    pg_finfo_stonescriptdb_cancel_deployment,
    crate::sql_api::cancel_deployment
);
sql_function!(
    stonescriptdb_resume_deployment,
    pg_finfo_stonescriptdb_resume_deployment,
    crate::sql_api::resume_deployment
);
sql_function!(
    stonescriptdb_retry_deployment,
    pg_finfo_stonescriptdb_retry_deployment,
    crate::sql_api::retry_deployment
);
sql_function!(
    stonescriptdb_register_platform,
    pg_finfo_stonescriptdb_register_platform,
    crate::sql_api::tenants::register_platform
);
sql_function!(
    stonescriptdb_rename_tenant,
    pg_finfo_stonescriptdb_rename_tenant,
    crate::sql_api::tenants::rename_tenant
);
sql_function!(stonescriptdb_copy_tenant, pg_finfo_stonescriptdb_copy_tenant, crate::sql_api::tenants::copy_tenant);
sql_function!(
    stonescriptdb_suspend_tenant,
    pg_finfo_stonescriptdb_suspend_tenant,
    crate::sql_api::tenants::suspend_tenant
);
sql_function!(
    stonescriptdb_resume_tenant,
    pg_finfo_stonescriptdb_resume_tenant,
    crate::sql_api::tenants::resume_tenant
);
sql_function!(stonescriptdb_adopt, pg_finfo_stonescriptdb_adopt, crate::sql_api::tenants::adopt);
sql_function!(stonescriptdb_check, pg_finfo_stonescriptdb_check, crate::sql_api::check);
sql_function!(stonescriptdb_health, pg_finfo_stonescriptdb_health, crate::sql_api::health);
sql_function!(stonescriptdb_stats, pg_finfo_stonescriptdb_stats, crate::sql_api::stats);
sql_function!(stonescriptdb_workers, pg_finfo_stonescriptdb_workers, crate::sql_api::workers);
sql_function!(
    stonescriptdb_registry_changed,
    pg_finfo_stonescriptdb_registry_changed,
    crate::sql_api::registry_changed
);
