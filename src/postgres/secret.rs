//! Tokens as settings whose texts are kept nowhere: what is in memory is their SHA-256.
//!
//! At a reload the postmaster writes `parameter "…" changed to "…"` to the log if the variable's text is another one than before
//! (guc-file.l). So the check hook puts the same stars in the place of every text, and what it made of the text goes the way that PostgreSQL
//! has for that, as the value's `extra`: no text differs, nothing is written, and no view has anything to show.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};

use pgrx::pg_sys;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use sha2::{Digest, Sha256};

use super::error::text;
use super::version::{guc_allocate, guc_replace};

/// SHA-256 of a secret.
pub(crate) type Hash = [u8; 32];

/// What stands in postgresql.conf in front of a hash in hex, where the secret itself shall not.
const HASHED: &str = "sha256:";

const STARS: &CStr = c"********";

/// The tokens that are settings.
#[derive(Clone, Copy)]
pub(crate) enum Secret {
    Admin,
    Metrics,
}

const ADMIN: usize = Secret::Admin as usize;
const METRICS: usize = Secret::Metrics as usize;

/// The message of PostgreSQL's own would show the value.
const NO_HASH: [&CStr; 2] = [
    c"invalid value for parameter \"stonescriptdb.admin_token\": behind \"sha256:\" stand 64 hexadecimal digits",
    c"invalid value for parameter \"stonescriptdb.metrics_token\": behind \"sha256:\" stand 64 hexadecimal digits",
];

type CheckHook = unsafe extern "C-unwind" fn(*mut *mut c_char, *mut *mut c_void, pg_sys::GucSource::Type) -> bool;
type AssignHook = unsafe extern "C-unwind" fn(*const c_char, *mut c_void);

/// The `extra` of a value.
#[repr(C)]
struct Extra {
    is_set: bool,
    hash: Hash,
}

thread_local! {
    static HASHES: [Cell<Option<Hash>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

/// A token's hash; none while there is no such token. Main thread only.
pub(crate) fn of_setting(which: Secret) -> Option<Hash> {
    HASHES.with(|hashes| hashes.get(which as usize).and_then(Cell::get))
}

/// The hash of a secret that somebody sent.
pub(crate) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret).into()
}

/// Defines the setting of a token: a text, or `sha256:` and the hash of one. Empty is none.
pub(crate) fn define(
    which: Secret,
    name: &'static CStr,
    description: &'static CStr,
    setting: &'static GucSetting<Option<CString>>,
) {
    let flags = GucFlags::SUPERUSER_ONLY | GucFlags::NO_SHOW_ALL;
    let context = GucContext::Sighup;
    let (check, assign): (CheckHook, AssignHook) = match which {
        Secret::Admin => (check::<ADMIN>, assign::<ADMIN>),
        Secret::Metrics => (check::<METRICS>, assign::<METRICS>),
    };
    // SAFETY: the hooks are the functions below, of the kinds that guc.c wants.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            description,
            crate::settings::more(name),
            setting,
            context,
            flags,
            Some(check),
            Some(assign),
            Some(show),
        );
    }
}

/// What a value means: a hash, nothing, or an error.
fn read(value: &str) -> Result<Option<Hash>, ()> {
    let Some(digits) = value.strip_prefix(HASHED) else {
        return Ok((!value.is_empty()).then(|| hash(value)));
    };
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(());
    }
    let mut bytes = Hash::default();
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(drop)?;
        *byte = u8::from_str_radix(pair, 16).map_err(drop)?;
    }
    Ok(Some(bytes))
}

unsafe extern "C-unwind" fn check<const WHICH: usize>(
    value: *mut *mut c_char,
    extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: guc.c passes the address of a string that it allocated, or of null, and of the place for `extra`; both become its own. The
    // message is static, and guc.c does not free it.
    unsafe {
        let Ok(secret) = read(&text(*value).unwrap_or_default()) else {
            pg_sys::GUC_check_errmsg_string = NO_HASH.get(WHICH).unwrap_or(&c"").as_ptr().cast_mut();
            return false;
        };
        let made = guc_allocate(std::mem::size_of::<Extra>()).cast::<Extra>();
        if made.is_null() || !guc_replace(value, STARS) {
            return false;
        }
        made.write(Extra { is_set: secret.is_some(), hash: secret.unwrap_or_default() });
        *extra = made.cast();
        true
    }
}

unsafe extern "C-unwind" fn assign<const WHICH: usize>(_value: *const c_char, extra: *mut c_void) {
    // SAFETY: null, or what `check` made of this value.
    let extra = unsafe { extra.cast::<Extra>().as_ref() };
    let hash = extra.filter(|extra| extra.is_set).map(|extra| extra.hash);
    HASHES.with(|hashes| hashes.get(WHICH).map(|place| place.set(hash)));
}

unsafe extern "C-unwind" fn show() -> *const c_char {
    STARS.as_ptr()
}
