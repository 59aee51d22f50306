//! What functions can ask of the request that they are called for: the settings `request.id`, `request.headers` and so on.
//!
//! Nothing is set for a call. The settings are shown by hooks that look into the executor's memory while a call is carried out, so a
//! function that does not ask costs nothing, and there is nothing to put back. Only a parallel worker, which has a memory of its own,
//! gets them as values.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int};

use pgrx::pg_sys;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PgSqlErrorCode};
use stonescriptdb_protocol::{Failure, RequestContext, traceparent_in, tracestate_in};

use super::error::guard;
use super::hooks::is_executor;
use super::json_out::write_string;

/// The request that a call or a batch came with.
struct Present<'a> {
    context: &'a RequestContext<'a>,
    /// A line `name:value` each.
    headers: &'a [u8],
}

thread_local! {
    static PRESENT: Cell<*const Present<'static>> = const { Cell::new(std::ptr::null()) };
    /// What was shown last of each setting: a hook gives a pointer that its caller copies from.
    static SHOWN: RefCell<[Option<CString>; NAMES.len()]> = const { RefCell::new([const { None }; NAMES.len()]) };
    /// The values are being handed to parallel workers: the one time when they may be set.
    static HANDING: Cell<bool> = const { Cell::new(false) };
    static PREVIOUS: Cell<pg_sys::ExecutorStart_hook_type> = const { Cell::new(None) };
}

/// Runs `f`, for which the settings tell of this request.
pub(crate) fn during<T>(context: &RequestContext, headers: &[u8], f: impl FnOnce() -> T) -> T {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            PRESENT.set(std::ptr::null());
        }
    }
    let present = Present { context, headers };
    PRESENT.set((&raw const present).cast());
    // Dropped before `present`, whichever way `f` ends.
    let _over = Over;
    f()
}

type Text = GucSetting<Option<CString>>;
type Setting = (&'static CStr, &'static CStr, &'static Text, pg_sys::GucShowHook);

static ID: Text = Text::new(Some(c""));
static PLATFORM: Text = Text::new(Some(c""));
static TENANT: Text = Text::new(Some(c""));
static ROLE: Text = Text::new(Some(c""));
static METHOD: Text = Text::new(Some(c""));
static CLIENT_ADDRESS: Text = Text::new(Some(c""));
static HEADERS: Text = Text::new(Some(c""));
static TRACEPARENT: Text = Text::new(Some(c""));
static TRACESTATE: Text = Text::new(Some(c""));

const NAMES: [Setting; 9] = [
    (c"request.id", c"The id of the request that this call came with.", &ID, Some(show::<0>)),
    (c"request.platform", c"The platform that is called.", &PLATFORM, Some(show::<1>)),
    (c"request.tenant", c"The tenant that is called.", &TENANT, Some(show::<2>)),
    (c"request.role", c"The role that calls over SQL.", &ROLE, Some(show::<3>)),
    (c"request.method", c"The method of the request that this call came with.", &METHOD, Some(show::<4>)),
    (
        c"request.client_address",
        c"The address of the client that this call came from.",
        &CLIENT_ADDRESS,
        Some(show::<5>),
    ),
    (c"request.headers", c"The headers of the request that this call came with, as JSON.", &HEADERS, Some(show::<6>)),
    (
        c"request.traceparent",
        c"The trace that the request belongs to, as W3C Trace Context has it.",
        &TRACEPARENT,
        Some(show::<7>),
    ),
    (c"request.tracestate", c"What tracing systems have added to request.traceparent.", &TRACESTATE, Some(show::<8>)),
];

/// Defines the settings; once, while the library is loaded. In ordinary sessions they are as any setting of an unknown prefix: whoever
/// uses these names for something else, PostgREST for one, sets and reads what he likes.
pub(crate) fn define() {
    let flags = GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE;
    for (name, description, setting, show) in NAMES {
        // SAFETY: the hooks are the functions below, in which nothing panics.
        unsafe {
            let context = GucContext::Userset;
            GucRegistry::define_string_guc_with_hooks(
                name,
                description,
                c"",
                setting,
                context,
                flags,
                Some(check),
                None,
                show,
            );
        }
    }
}

/// Refuses to set what tells of the request, in a call: it would have no effect.
unsafe extern "C-unwind" fn check(
    _value: *mut *mut c_char,
    _extra: *mut *mut std::ffi::c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    if !is_executor() || HANDING.get() || source < pg_sys::GucSource::PGC_S_INTERACTIVE {
        return true;
    }
    // SAFETY: both are read by guc.c after this hook; the text is static.
    unsafe {
        pg_sys::GUC_check_errcode(PgSqlErrorCode::ERRCODE_CANT_CHANGE_RUNTIME_PARAM as i32);
        pg_sys::GUC_check_errmsg_string = c"what tells of the request cannot be set".as_ptr().cast_mut();
    }
    false
}

unsafe extern "C-unwind" fn show<const SETTING: usize>() -> *const c_char {
    let present = PRESENT.get();
    if present.is_null() {
        let set = NAMES.get(SETTING).map_or(std::ptr::null_mut(), |(_, _, setting, _)| {
            // SAFETY: the setting's own variable; in an executor it is what a database's or a role's settings say, which is nobody's.
            if is_executor() { std::ptr::null_mut() } else { unsafe { *setting.as_ptr() } }
        });
        return if set.is_null() { c"".as_ptr() } else { set.cast_const() };
    }
    // SAFETY: set by `during`, whose arguments live as long as it is set.
    let text = unsafe { (*present).text(SETTING) };
    let text = CString::new(text.into_owned()).unwrap_or_default();
    SHOWN.with(|shown| match shown.try_borrow_mut() {
        Ok(mut shown) => shown.get_mut(SETTING).map_or(c"".as_ptr(), |place| place.insert(text).as_ptr()),
        Err(_) => c"".as_ptr(),
    })
}

impl Present<'_> {
    /// The value of the setting at that place of [`NAMES`].
    fn text(&self, setting: usize) -> Cow<'_, str> {
        match setting {
            0 => self.context.id.into(),
            1 => self.context.platform.into(),
            2 => self.context.tenant.into(),
            3 => self.context.role.into(),
            4 => self.context.method.into(),
            5 => self.context.client.map(|address| address.to_string()).unwrap_or_default().into(),
            6 => headers_as_json(self.headers).into(),
            7 => traceparent_in(self.headers).unwrap_or_default().into(),
            _ => tracestate_in(self.headers).unwrap_or_default().into(),
        }
    }
}

/// An object with a text for each name; what came more than once is one text with commas, as RFC 9110 (5.3) has it. Empty if there are
/// none: the call came over SQL.
fn headers_as_json(lines: &[u8]) -> String {
    let mut headers: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (line.get(..end).unwrap_or_default(), line.get(end + 1..).unwrap_or_default());
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => {
                before.extend_from_slice(b", ");
                before.extend_from_slice(value);
            }
            None => headers.push((name, value.to_vec())),
        }
    }
    if headers.is_empty() {
        return String::new();
    }
    let mut json = vec![b'{'];
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_string(&mut json, name);
        json.push(b':');
        write_string(&mut json, String::from_utf8_lossy(value).as_bytes());
    }
    json.push(b'}');
    String::from_utf8_lossy(&json).into_owned()
}

/// Has parallel workers of this process know the request too; once, in an executor.
pub(crate) fn reach_parallel_workers() {
    // SAFETY: hooks are process-wide variables; this process runs nothing yet.
    unsafe {
        PREVIOUS.set(pg_sys::ExecutorStart_hook);
        pg_sys::ExecutorStart_hook = Some(executor_start);
    }
}

unsafe extern "C-unwind" {
    // Past pgrx's binding: an error must pass through this hook as if it were not there.
    fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
}

unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: a live query; nothing in this frame needs dropping, so that errors may jump over it.
    unsafe {
        if (*(*query).plannedstmt).parallelModeNeeded && !PRESENT.get().is_null() && !pg_sys::IsInParallelMode() {
            guard(hand_over, |_| String::new());
        }
        let next = PREVIOUS.get().unwrap_or(standard_ExecutorStart);
        next(query, flags);
    }
}

/// Gives the settings their values, which PostgreSQL copies to parallel workers as those of any setting. The reset after the call takes
/// them away.
fn hand_over() -> Result<(), Failure> {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            HANDING.set(false);
        }
    }
    HANDING.set(true);
    let _done = Done;
    let present = PRESENT.get();
    for (index, (name, ..)) in NAMES.iter().enumerate() {
        // SAFETY: as in `show`; both strings end in a zero and are copied.
        unsafe {
            let value = CString::new((*present).text(index).into_owned()).unwrap_or_default();
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
            );
        }
    }
    Ok(())
}
