//! Calls: from a function's name and JSON parameters to rows of JSON, in one transaction.

mod catalog;
mod parameters;
mod resolve;

use std::collections::HashMap;

use stonescriptdb_protocol::{CallRequest, ErrorCode, Failure, FrameKind, HEADER_LEN, frame_header};

use crate::postgres::{self, Input, Plan, Value, invalidation};
use catalog::Function;
use parameters::Parameters;
use resolve::Shape;

/// Room in front of the rows: the frame's header and the number of rows.
const HEAD: usize = HEADER_LEN + size_of::<u64>();
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
    /// Calls a function; gives the whole frame of the answer.
    ///
    /// # Errors
    /// `function_not_found`, `unauthorized_function`, `invalid_request`, `query_failed`.
    pub(crate) fn call(&mut self, request: &CallRequest) -> Result<Vec<u8>, Failure> {
        let parameters = Parameters::read(request.params)?;
        let (mut frame, rows) = postgres::transaction(|| self.run(request, &parameters))?;
        frame.extend_from_slice(b"],\"row_count\":");
        frame.extend_from_slice(itoa::Buffer::new().format(rows).as_bytes());
        let header = frame_header(FrameKind::Rows, frame.len() - HEADER_LEN)
            .map_err(|error| Failure::new(ErrorCode::QueryFailed, error.to_string()))?;
        for (place, byte) in frame.iter_mut().zip(header.into_iter().chain(rows.to_le_bytes())) {
            *place = byte;
        }
        Ok(frame)
    }

    fn run(&mut self, request: &CallRequest, parameters: &Parameters) -> Result<(Vec<u8>, u64), Failure> {
        // Starting the transaction has read the invalidations of others' commits.
        let is_full = self.functions.len() >= MAX_REMEMBERED || self.prepared.len() >= MAX_REMEMBERED;
        if is_full || self.generation != invalidation::generation() {
            self.functions.clear();
            self.prepared.clear();
        }
        if !self.functions.contains_key(request.function) {
            let found = catalog::functions(request.function)?;
            if found.is_empty() {
                // Not remembered: a caller can think of any number of names.
                return Err(resolve::unknown(request.function));
            }
            self.functions.insert(request.function.to_owned(), found);
        }
        let functions = self.functions.get(request.function).map_or(&[][..], Vec::as_slice);
        let chosen = resolve::choose(request.function, functions, parameters)?;
        let key = chosen.key();
        if !self.prepared.contains_key(&key) {
            let prepared = Prepared {
                plan: Plan::prepare(&chosen.sql(), chosen.types())?,
                inputs: chosen.types().iter().map(|type_oid| Input::new(*type_oid)).collect::<Result<_, _>>()?,
            };
            self.prepared.insert(key.clone(), prepared);
        }
        // What was looked up and prepared just now may itself have read invalidations; it was done after them.
        self.generation = invalidation::generation();
        let arguments = chosen.arguments;
        let Some(prepared) = self.prepared.get_mut(&key) else {
            return Err(Failure::internal("a prepared call is missing"));
        };
        let inputs: Result<Vec<Value>, Failure> = prepared
            .inputs
            .iter_mut()
            .zip(&arguments)
            .map(|(input, argument)| parameters::convert(input, argument))
            .collect();
        let mut out = Vec::with_capacity(TYPICAL);
        out.resize(HEAD, 0);
        out.extend_from_slice(b"{\"rows\":[");
        let limit = request.max_result as usize;
        Ok(prepared.plan.run(&inputs?, out, limit)?)
    }
}
