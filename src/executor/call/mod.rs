//! Calls: from a function's name and JSON parameters to rows of JSON, in one transaction.

pub(super) mod attempts;
mod catalog;
mod parameters;
mod polymorphic;
mod resolve;

use std::collections::HashMap;

use stonescriptdb_protocol::{
    Access, BatchRequest, CallRequest, ErrorCode, Failure, Form, FrameKind, HEADER_LEN, RowsHeader, Rules, frame_header,
};

use crate::postgres::{self, Input, Plan, Rows, TopLevelCall, Value, invalidation};
use attempts::Attempt;
pub(super) use attempts::Span;
use catalog::Function;
use parameters::Parameters;
use resolve::Shape;

/// Room in front of the text: the frame's header and that of the rows.
const HEAD: usize = HEADER_LEN + size_of::<RowsHeader>();
/// Names and ways of calling that are remembered; over it everything is forgotten, which costs some milliseconds once.
const MAX_REMEMBERED: usize = 2000;
/// Room for a typical answer.
const TYPICAL: usize = 1024;

/// What an executor remembers from call to call. All of it is dropped when PostgreSQL says that a function or a type has changed; the
/// plans by themselves would follow, but what was resolved by name might now be another function.
#[derive(Default)]
pub(crate) struct Caller {
    generation: u64,
    functions: HashMap<String, Vec<Function>>,
    prepared: HashMap<Key, Prepared>,
}

/// A function's OID, the form of the call, and the types of the arguments.
type Key = (u32, Shape, Vec<u32>);

/// A way of calling a function, ready to run.
struct Prepared {
    plan: Plan,
    inputs: Vec<Input>,
}

impl Caller {
    /// Calls a function; gives the whole frame of the answer. Of rows as lines, frames go out through `send` before that.
    ///
    /// # Errors
    /// `function_not_found`, `unauthorized_function`, `invalid_request`, `query_failed`; `method_not_allowed` for a function that may
    /// write where only reading is asked for.
    pub(crate) fn call(
        &mut self,
        request: &CallRequest,
        attempt: &mut Attempt,
        send: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Vec<u8>, Failure> {
        let CallRequest { function, params, rules, .. } = request;
        let parameters = Parameters::read(params)?;
        let most = rules.max_result as usize;
        let mut sent = false;
        let mut send = |frame: &mut Vec<u8>, rows| {
            put_head(frame, FrameKind::Lines, rows)?;
            sent = true;
            send(frame)?;
            frame.truncate(HEAD);
            Ok(())
        };
        let (text, wanted) = match rules.form {
            Form::Whole => (ROWS, Rows::Whole(most)),
            Form::Lines => (&b""[..], Rows::Lines(most, &mut send)),
        };
        let run = || self.run(Asked { name: function, parameters: &parameters, rules }, begun(text), wanted, attempt);
        let done = match rules.access {
            Access::Write => postgres::transaction(run),
            Access::Read => postgres::read_only_transaction(run),
        };
        attempt.sent |= sent;
        let (mut frame, rows) = done?;
        if rules.form == Form::Lines {
            put_head(&mut frame, FrameKind::Rows, rows)?;
            return Ok(frame);
        }
        end_rows(&mut frame, rows);
        let header = match rules.access {
            Access::Write => rows,
            Access::Read => fingerprint(text_of(&frame)),
        };
        finished(frame, header, attempt)
    }

    /// Calls functions one after the other in one transaction; gives the whole frame of the answer.
    ///
    /// # Errors
    /// As [`Caller::call`], with the place of the call that failed. An error of the commit is of no call.
    pub(crate) fn batch(&mut self, request: &BatchRequest, attempt: &mut Attempt) -> Result<Vec<u8>, Failure> {
        let frame = postgres::transaction(|| {
            let mut out = begun(b"{\"results\":[");
            for (index, call) in request.calls.iter().enumerate() {
                let of_this = |failure| Failure { failed_call: u32::try_from(index).ok(), ..failure };
                let parameters = Parameters::read(call.params).map_err(of_this)?;
                out.extend_from_slice(if index == 0 { ROWS } else { b",{\"rows\":[" });
                // Errors of PostgreSQL are caught here and not outside, where it is not known any more which call it was.
                let asked = Asked { name: call.function, parameters: &parameters, rules: &request.rules };
                let most = request.rules.max_result as usize;
                let done = postgres::catch(|| self.run(asked, out, Rows::Whole(most), attempt))
                    .unwrap_or_else(|error| Err(error.into()));
                let (text, rows) = done.map_err(of_this)?;
                out = text;
                end_rows(&mut out, rows);
                out.push(b'}');
            }
            out.push(b']');
            Ok::<_, Failure>(out)
        })?;
        finished(frame, 0, attempt)
    }

    /// Runs one call; its rows are appended to `out`. Gives the text, as far as it was not sent, and the number of rows.
    fn run(
        &mut self,
        asked: Asked,
        out: Vec<u8>,
        wanted: Rows,
        attempt: &mut Attempt,
    ) -> Result<(Vec<u8>, u64), Failure> {
        let Asked { name, parameters, rules } = asked;
        // Starting the transaction has read the invalidations of others' commits. Some that come later, while this call looks things up,
        // may be about what it has looked up already: the next call then begins anew.
        attempt.sees(invalidation::Seen::now());
        let generation = invalidation::generation();
        let is_full = self.functions.len() >= MAX_REMEMBERED || self.prepared.len() >= MAX_REMEMBERED;
        if is_full || self.generation != generation {
            self.functions.clear();
            self.prepared.clear();
            self.generation = generation;
        }
        if !self.functions.contains_key(name) {
            // Of an error there the caller is not told the statement: it is this extension's own.
            let found = postgres::catch(|| catalog::functions(name))
                .unwrap_or_else(|error| Err(error.without_statement().into()))?;
            if found.is_empty() {
                // Not remembered: a caller can think of any number of names.
                return Err(resolve::unknown(name));
            }
            self.functions.insert(name.to_owned(), found);
        }
        let functions = self.functions.get(name).map_or(&[][..], Vec::as_slice);
        let chosen = resolve::choose(name, functions, parameters)?;
        if rules.access == Access::Read && chosen.function.is_volatile {
            return Err(may_write(name));
        }
        let key = chosen.key();
        if !self.prepared.contains_key(&key) {
            let prepared = Prepared {
                plan: Plan::prepare(&chosen.sql()?, chosen.types())
                    .map_err(|error| resolve::not_prepared(name, functions, error))?,
                inputs: chosen.types().iter().map(|type_oid| Input::new(*type_oid)).collect::<Result<_, _>>()?,
            };
            self.prepared.insert(key.clone(), prepared);
        }
        attempt.begin_function(chosen.function.timeout_ms);
        let arguments = chosen.arguments;
        let Some(prepared) = self.prepared.get_mut(&key) else {
            return Err(Failure::internal("a prepared call is missing"));
        };
        let Prepared { plan, inputs } = prepared;
        let mut convert = || {
            let values =
                inputs.iter_mut().zip(&arguments).map(|(input, argument)| parameters::convert(input, argument));
            values.collect::<Result<Vec<Value>, Failure>>()
        };
        if chosen.function.is_procedure && attempt.may_commit() {
            let call = TopLevelCall::prepare()?;
            let values = call.arguments(convert)?;
            return Ok(call.run(plan, &values, out, wanted)?);
        }
        Ok(plan.run(&convert()?, out, wanted)?)
    }
}

/// The text in an answer's frame.
pub(super) fn text_of(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..).unwrap_or_default()
}

/// What is called.
struct Asked<'a> {
    name: &'a str,
    parameters: &'a Parameters<'a>,
    rules: &'a Rules,
}

/// How the text of a call's rows begins.
const ROWS: &[u8] = b"{\"rows\":[";

/// The start of an answer: room for its head, and the text up to the first row.
fn begun(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(TYPICAL);
    out.resize(HEAD, 0);
    out.extend_from_slice(text);
    out
}

fn end_rows(out: &mut Vec<u8>, rows: u64) {
    out.extend_from_slice(b"],\"row_count\":");
    out.extend_from_slice(itoa::Buffer::new().format(rows).as_bytes());
}

/// The answer's frame, whose text still lacks the closing brace.
fn finished(mut frame: Vec<u8>, header: RowsHeader, attempt: &Attempt) -> Result<Vec<u8>, Failure> {
    if let Some(retries) = attempt.retries {
        frame.extend_from_slice(b",\"retries\":");
        frame.extend_from_slice(itoa::Buffer::new().format(retries).as_bytes());
    }
    put_head(&mut frame, FrameKind::Rows, header)?;
    Ok(frame)
}

/// Fills the room in front of the text.
fn put_head(frame: &mut [u8], kind: FrameKind, header: RowsHeader) -> Result<(), Failure> {
    let head = frame_header(kind, frame.len() - HEADER_LEN)
        .map_err(|error| Failure::new(ErrorCode::QueryFailed, error.to_string()))?;
    for (place, byte) in frame.iter_mut().zip(head.into_iter().chain(header.to_le_bytes())) {
        *place = byte;
    }
    Ok(())
}

/// What is different, but for one in 2^64, for every text. It is made here and not in the server worker, where it would hold up others.
fn fingerprint(text: &[u8]) -> u64 {
    use sha2::Digest;
    let hash: [u8; 32] = sha2::Sha256::digest(text).into();
    hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

fn may_write(name: &str) -> Failure {
    Failure::new(
        ErrorCode::MethodNotAllowed,
        format!("the function \"{name}\" may write: it is not STABLE or IMMUTABLE"),
    )
    .hint("Send the call by POST, or declare the function STABLE if it only reads.")
}
