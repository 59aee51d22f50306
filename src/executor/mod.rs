//! An executor: a worker attached to one database as one role, which serves one request after the other.

pub(crate) mod call;
mod channel;
mod control;
mod deploy;
mod describe;
mod direct;
mod extensions;
mod priority;
mod recognise;
mod restore;

use serde::Serialize;
use stonescriptdb_protocol::{
    BatchRequest, CallRequest, ErrorCode, ExecutorRequest, Failure, FrameKind, Hello, RequestContext, decode_with_tail,
    encode,
};

use crate::postgres::worker::Started;
use crate::postgres::{self, session, wait, worker};
use crate::settings;
use call::{Caller, Span, attempts};
use channel::{Arrived, Channel};
use direct::{Clients, Unfit};

/// An executor's whole life. The database and the role are in the worker's extra data.
pub(crate) fn main(Started { id, calls }: Started) -> ! {
    postgres::hooks::mark_executor();
    postgres::counters::choose_shard(id);
    worker::executor_signals();
    let extra = worker::extra();
    let (database, role) = extra.split_once('\t').unwrap_or((&extra, ""));
    let role = (!role.is_empty()).then_some(role);
    // What the registry is asked is short, and its rows are everybody's.
    if !calls && database != settings::control_database() {
        priority::lower(settings::deploy_nice());
    }
    session::noting_own_timeout(|| worker::connect(database, role));
    if role.is_none() {
        // As superuser nothing may be found but PostgreSQL's own.
        let _ = session::set_default(c"search_path", c"pg_catalog, pg_temp");
    }
    // pg_stat_activity and log_line_prefix show it.
    let _ = session::set_default(c"application_name", c"stonescriptdb");
    // Answers look the same on every server, whatever its postgresql.conf says.
    for (setting, value) in [
        (c"bytea_output", c"hex"),
        (c"IntervalStyle", c"postgres"),
        (c"extra_float_digits", c"1"),
        (c"DateStyle", c"ISO"),
    ] {
        let _ = session::set_default(setting, value);
    }
    postgres::invalidation::watch();
    postgres::limit::watch();
    postgres::request::reach_parallel_workers();
    let Ok(mut channel) = Channel::connect() else { worker::exit(0) };
    let hello = Hello { executor: id, pid: worker::my_pid() };
    if encode(FrameKind::Hello, &hello).is_ok_and(|frame| channel.write(&frame)) {
        serve(&mut channel);
    }
    worker::exit(0)
}

/// Serves until the broker closes the connection.
fn serve(channel: &mut Channel) {
    let mut caller = Caller::default();
    let mut clients = Clients::default();
    worker::report_idle();
    while let Some(arrived) = channel.next() {
        if channel.reloaded() {
            clients.reload();
        }
        let served = match arrived {
            Arrived::Client(fd) => clients.serve(channel, &mut caller, fd),
            Arrived::Frame(FrameKind::Handover, payload) => clients.take(channel, &mut caller, &payload),
            Arrived::Frame(kind, payload) => answer_frame(channel, &mut caller, kind, &payload),
        };
        if let Err(Unfit) = served {
            return;
        }
    }
}

fn answer_frame(channel: &mut Channel, caller: &mut Caller, kind: FrameKind, payload: &[u8]) -> Result<(), Unfit> {
    // A cancel that was meant for the last request.
    wait::forget_cancel();
    let answer = match kind {
        FrameKind::Call => call(caller, payload, channel),
        FrameKind::Batch => batch(caller, payload),
        FrameKind::Request => request(payload),
        _ => return Err(Unfit),
    };
    if !channel.write(&answer) {
        return Err(Unfit);
    }
    drop(answer);
    wait::forget_cancel();
    // Nobody may find what a caller left here: if that cannot be had, start anew.
    session::reset().map_err(|_| Unfit)?;
    worker::report_idle();
    Ok(())
}

fn call(caller: &mut Caller, payload: &[u8], channel: &mut Channel) -> Vec<u8> {
    let Ok((request, headers)) = decode_with_tail::<CallRequest>(payload) else {
        return failure(&Failure::internal("a call does not decode"));
    };
    worker::report_running(request.function);
    let result = while_called_by(&request.context, headers, || {
        attempts::carry_out(&request.rules, Span::Call, |attempt| {
            caller.call(&request, attempt, &mut |frame| channel.send(frame))
        })
    });
    result.unwrap_or_else(|error| failure(&error))
}

/// Runs the calls of a request: what is done meanwhile is the caller's doing.
fn while_called_by<T>(context: &RequestContext, headers: &[u8], f: impl FnOnce() -> T) -> T {
    postgres::hooks::while_calling(|| postgres::request::during(context, headers, f))
}

fn batch(caller: &mut Caller, payload: &[u8]) -> Vec<u8> {
    let Ok((request, headers)) = decode_with_tail::<BatchRequest>(payload) else {
        return failure(&Failure::internal("a batch does not decode"));
    };
    worker::report_running("batch");
    let result = while_called_by(&request.context, headers, || {
        attempts::carry_out(&request.rules, Span::batch(), |attempt| caller.batch(&request, attempt))
    });
    result.unwrap_or_else(|error| failure(&error))
}

fn request(payload: &[u8]) -> Vec<u8> {
    let request = match postcard::from_bytes::<ExecutorRequest>(payload) {
        Ok(request) => request,
        Err(_) => return failure(&Failure::internal("a request does not decode")),
    };
    match request {
        ExecutorRequest::Deploy(request) => {
            worker::report_running("deploy");
            answer(deploy::run(&request))
        }
        ExecutorRequest::Prove(request) => {
            worker::report_running("prove");
            answer(match &request.reuse {
                Some(reuse) => deploy::reprove(&request.archive, reuse),
                None => deploy::prove(&request).map(Some),
            })
        }
        ExecutorRequest::IsAsRecorded { bundle_sha256 } => {
            worker::report_running("check");
            answer(deploy::is_as_recorded(&bundle_sha256))
        }
        ExecutorRequest::Check { proof } => {
            worker::report_running("check");
            answer(deploy::check(&proof))
        }
        ExecutorRequest::Adopt(request) => {
            worker::report_running("adopt");
            answer(deploy::adopt(&request))
        }
        ExecutorRequest::GiveBack(statements) => {
            worker::report_running("give back");
            answer(deploy::give_back(&statements))
        }
        ExecutorRequest::InstallExtensions(wanted) => {
            worker::report_running("install extensions");
            answer(extensions::install(&wanted))
        }
        ExecutorRequest::DropExtensions(names) => {
            worker::report_running("drop extensions");
            answer(extensions::drop_again(&names))
        }
        ExecutorRequest::Recognise { owner_role, call_role } => {
            worker::report_running("recognise");
            answer(recognise::run(&owner_role, &call_role))
        }
        ExecutorRequest::RestoredState => {
            worker::report_running("recognise");
            answer(recognise::state())
        }
        ExecutorRequest::Describe(request) => {
            worker::report_running("describe");
            answer(describe::run(&request))
        }
        ExecutorRequest::Control(request) => {
            worker::report_running("control");
            control::run(request)
        }
    }
}

fn answer<T: Serialize>(result: Result<T, Failure>) -> Vec<u8> {
    match result {
        Ok(value) => {
            encode(FrameKind::Answer, &value).unwrap_or_else(|error| failure(&Failure::internal(error.to_string())))
        }
        Err(error) => failure(&error),
    }
}

fn failure(error: &Failure) -> Vec<u8> {
    encode(FrameKind::Failure, error)
        .or_else(|_| {
            encode(FrameKind::Failure, &Failure::new(ErrorCode::InternalError, "the error is too large to report"))
        })
        .unwrap_or_default()
}
