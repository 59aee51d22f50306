//! Clients that this executor answers itself. The server worker hands over a connection that calls one tenant again and again; what comes
//! on it is read, carried out and answered here, with nobody between. Whatever is not a plain call of that tenant goes back to the server
//! worker with its connection, unread as far as the client can tell.
//!
//! In whose hands a connection is, shared memory says (`postgres::seats`): before this executor reads of a connection it takes it, and the
//! server worker takes it back only while nobody has it.

mod client;

use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use stonescriptdb_protocol::{
    Access, CallRequest, Failure, Form, FrameKind, GivenBack, Handover, RequestContext, decode_with_tail, encode_with,
    traceparent_in,
};

use super::call::{Caller, Span, attempts, text_of};
use super::channel::Channel;
use crate::postgres::seats::{Hands, Seated};
use crate::postgres::{session, wait, worker};
use crate::server::calls;
use crate::server::http::plain::{self, PlainHead};
use crate::server::http::{CallBody, RequestId};
use crate::server::tally::{Failed, Tally};
use crate::settings::{self, Settings};
use client::{Client, Sent};

/// The session is in an unknown state or the broker is gone: the executor must end.
pub(super) struct Unfit;

/// The clients of this executor.
#[derive(Default)]
pub(super) struct Clients {
    clients: Vec<Client>,
    /// Read when it is first needed, and again after each reload.
    settings: Option<Settings>,
    /// The head of an answer while it is written.
    head: Vec<u8>,
}

impl Clients {
    /// The broker hands over a connection.
    pub(super) fn take(&mut self, channel: &mut Channel, caller: &mut Caller, payload: &[u8]) -> Result<(), Unfit> {
        let (handover, read) = decode_with_tail::<Handover>(payload).map_err(|_| Unfit)?;
        let stream = channel.descriptor().ok_or(Unfit)?;
        let seated = Seated::of(handover.seat, handover.connection).ok_or(Unfit)?;
        let client = Client::new(stream, seated, handover, read);
        let (fd, waits) = (client.stream.as_raw_fd(), read.is_empty());
        self.clients.push(client);
        self.watch(channel);
        // What has been read already will not be told again.
        if waits { Ok(()) } else { self.serve(channel, caller, fd) }
    }

    /// The settings have changed.
    pub(super) fn reload(&mut self) {
        self.settings = None;
        self.clients.iter_mut().for_each(|client| client.known = None);
    }

    /// A client has sent something, or is gone.
    pub(super) fn serve(&mut self, channel: &mut Channel, caller: &mut Caller, fd: RawFd) -> Result<(), Unfit> {
        let Some(place) = self.clients.iter().position(|client| client.stream.as_raw_fd() == fd) else {
            return Ok(());
        };
        let Clients { clients, settings, head } = self;
        let Some(client) = clients.get_mut(place) else { return Ok(()) };
        let settings = settings.get_or_insert_with(settings::current);
        let outcome = if client.seated.pass(Hands::AtRest, Hands::Working) {
            answer_all(client, settings, head, caller)?
        } else {
            Outcome::Taken
        };
        let answer = match outcome {
            Outcome::Waits => return Ok(()),
            Outcome::Taken => None,
            Outcome::Back(answer) => Some(answer),
        };
        let client = self.clients.swap_remove(place);
        self.watch(channel);
        if let Some(answer) = answer {
            let message = GivenBack {
                connection: client.seated.connection(),
                answer: u32::try_from(answer.len()).unwrap_or(u32::MAX),
            };
            let frame = encode_with(FrameKind::GivenBack, &message, |frame| {
                frame.extend_from_slice(&answer);
                frame.extend_from_slice(&client.buffer);
            });
            // Without it the server worker would wait for ever: it must see this executor's end then.
            if !frame.is_ok_and(|frame| channel.write(&frame)) {
                return Err(Unfit);
            }
        }
        Ok(())
    }

    fn watch(&self, channel: &mut Channel) {
        channel.watch(self.clients.iter().map(|client| client.stream.as_raw_fd()));
    }
}

/// What becomes of a client that had its turn.
enum Outcome {
    /// It is at rest.
    Waits,
    /// The server worker has taken it.
    Taken,
    /// The server worker is to go on with it, after the rest of an answer.
    Back(Vec<u8>),
}

/// Answers what a client has sent; the seat is `Working`.
fn answer_all(
    client: &mut Client,
    settings: &Settings,
    head: &mut Vec<u8>,
    caller: &mut Caller,
) -> Result<Outcome, Unfit> {
    let back = || Ok(Outcome::Back(Vec::new()));
    if client.buffer.is_empty() && client.read() == Sent::End {
        return back();
    }
    while !client.buffer.is_empty() {
        let Some(length) = client.whole(settings) else { return back() };
        let Some((known, body)) = client.call(settings) else { return back() };
        wait::forget_cancel();
        client.seated.work();
        let mut tally = Tally::begin(Some(client.platform), body.params().len());
        let (id, result) = carry_out(&client.terms, known, &body, settings, caller, tally.started);
        Seated::leave();
        wait::forget_cancel();
        if !client.seated.pass(Hands::Working, Hands::Answering) {
            client.seated.pass(Hands::Cancelled, Hands::Nobody);
            reset()?;
            return Ok(Outcome::Taken);
        }
        head.clear();
        let left = match result {
            Ok((frame, took)) => {
                let body = text_of(&frame);
                // Before the client can know of it.
                tally.ok(took, body.len());
                plain::success(head, &id, body.len());
                client.write(head, body)
            }
            Err(failure) => {
                let took = tally.failed(&failure);
                log(&client.terms, known, &body, &id, settings, &failure, took);
                let body = plain::failed(head, &id, &failure);
                client.write(head, body.as_bytes())
            }
        };
        client.buffer.drain(..length);
        client.seated.count();
        let waits = left.is_none() && client.buffer.is_empty();
        if waits {
            client.seated.pass(Hands::Answering, Hands::AtRest);
        } else if left.is_none() {
            client.seated.pass(Hands::Answering, Hands::Working);
        }
        // The client has its answer: nobody waits for this.
        reset()?;
        if let Some(left) = left {
            return Ok(Outcome::Back(left));
        }
    }
    // It said that it can be read, and could not.
    client.seated.pass(Hands::Working, Hands::AtRest);
    Ok(Outcome::Waits)
}

fn reset() -> Result<(), Unfit> {
    session::reset().map_err(|_| Unfit)?;
    worker::report_idle();
    Ok(())
}

fn carry_out(
    terms: &Handover,
    head: &PlainHead,
    body: &CallBody,
    settings: &Settings,
    caller: &mut Caller,
    started: Instant,
) -> (RequestId, Result<(Vec<u8>, Duration), Failure>) {
    let id = head.id.clone().unwrap_or_else(RequestId::made);
    let function = body.function().unwrap_or_default();
    worker::report_running(function);
    let request = CallRequest {
        function,
        params: body.params(),
        rules: calls::rules(settings, head.asked_ms, body.retry(), Access::Write, Form::Whole),
        context: RequestContext {
            id: id.as_str(),
            platform: &terms.platform,
            tenant: &terms.tenant,
            role: "",
            method: "POST",
            client: Some(head.client),
        },
    };
    let result = super::while_called_by(&request.context, &head.lines, || {
        attempts::carry_out(&request.rules, Span::Call, |attempt| {
            caller.call(&request, attempt, &mut |_| Err(Failure::internal("a plain call has no lines")))
        })
    });
    let result = match result {
        Ok(mut frame) => {
            let took = calls::end(&mut frame, started);
            Ok((frame, took))
        }
        Err(failure) => Err(Failure { database: Some(terms.database.clone()), ..failure }),
    };
    (id, result)
}

fn log(
    terms: &Handover,
    head: &PlainHead,
    body: &CallBody,
    id: &RequestId,
    settings: &Settings,
    failure: &Failure,
    took: Duration,
) {
    let failed = Failed {
        platform: &terms.platform,
        tenant: &terms.tenant,
        function: body.function().unwrap_or_default(),
        id: id.as_str(),
        traceparent: traceparent_in(&head.lines),
    };
    if let Some(line) = failed.line(failure, took, settings.log_min_status, settings.log_limit) {
        worker::log(&line);
    }
}
