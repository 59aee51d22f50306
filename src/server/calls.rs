//! Calls: from what a caller sent, over SQL or HTTP, to an executor and back.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stonescriptdb_protocol::{
    Access, BatchRequest, CallRequest, ErrorCode, Failure, Form, FrameKind, OneCall, RequestContext, RowsHeader, Rules,
    SentNames, encode_with,
};

use super::broker::{Answer, Broken};
use super::lookup::Called;
use super::pool::{Lease, Target};
use super::tally::{Failed, Tally, traceparent};
use super::{App, broker};
use crate::postgres::counters::Platform;
use crate::settings::Settings;

/// Which database is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whom<'a> {
    pub(super) platform: &'a str,
    /// The stored schema; `None` is the platform's own.
    pub(super) schema: Option<&'a str>,
    pub(super) tenant: Option<&'a str>,
}

impl<'a> From<&'a SentNames> for Whom<'a> {
    fn from(sent: &'a SentNames) -> Whom<'a> {
        Whom { platform: &sent.platform, schema: sent.schema.as_deref(), tenant: sent.tenant.as_deref() }
    }
}

impl From<Whom<'_>> for SentNames {
    fn from(whom: Whom<'_>) -> SentNames {
        SentNames {
            platform: whom.platform.to_owned(),
            schema: whom.schema.map(str::to_owned),
            tenant: whom.tenant.map(str::to_owned),
        }
    }
}

/// Who calls, and how.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    /// The request's id, over HTTP.
    pub(super) id: &'a str,
    /// The method, over HTTP.
    pub(super) method: &'a str,
    /// The client's address, over HTTP.
    pub(super) client: Option<IpAddr>,
    /// The headers, over HTTP.
    pub(super) headers: Option<&'a HeaderMap>,
    /// The role that is logged in, over SQL.
    pub(super) role: &'a str,
    /// The time limit that the caller asks for, in milliseconds; 0 is none.
    pub(super) asked_ms: u32,
    /// The caller allows that it is tried again.
    pub(super) retry: bool,
}

/// A call of a function.
pub(super) struct Call<'a> {
    pub(super) whom: Whom<'a>,
    pub(super) how: How<'a>,
    pub(super) function: &'a str,
    /// JSON text; empty is no parameters.
    pub(super) params: &'a [u8],
}

/// Calls a function; gives the body of the answer, ready to be sent.
///
/// # Errors
/// Those of the table of errors that concern calls.
pub(super) async fn call(app: &App, call: Call<'_>) -> Result<BytesMut, Failure> {
    let tally = begun(app, &call.whom, call.params.len());
    let (whom, how, function) = (call.whom, call.how, call.function);
    let result = async {
        let (target, frame) = framed(app, &call, Access::Write, Form::Whole)?;
        let mut body = answer(app, &call.whom, target, &frame).await?;
        body.advance(size_of::<RowsHeader>());
        Ok(body)
    };
    ended(app, tally, whom, how, function, result.await)
}

/// A call begins.
fn begun(app: &App, whom: &Whom<'_>, received: usize) -> Tally {
    let platform = app.registry().platform(whom.platform).ok().map(|platform| Platform::of(&platform.name));
    Tally::begin(platform, received)
}

/// A call ends: it is counted, told to the log if it is to be, and its body ended.
fn ended(
    app: &App,
    mut tally: Tally,
    whom: Whom<'_>,
    how: How<'_>,
    function: &str,
    result: Result<BytesMut, Failure>,
) -> Result<BytesMut, Failure> {
    match result {
        Ok(mut body) => {
            let took = end(&mut body, tally.started);
            tally.ok(took, body.len());
            Ok(body)
        }
        Err(failure) => {
            let took = tally.failed(&failure);
            let parent = how.headers.and_then(traceparent);
            let failed = Failed {
                platform: whom.platform,
                tenant: whom.tenant.unwrap_or_default(),
                function,
                id: how.id,
                traceparent: parent,
            };
            log(app, &failed, &failure, took);
            Err(failure)
        }
    }
}

fn log(app: &App, failed: &Failed<'_>, failure: &Failure, took: Duration) {
    let settings = app.settings();
    if let Some(line) = failed.line(failure, took, settings.log_min_status, settings.log_limit) {
        app.main.tell(line);
    }
}

/// As [`call`], of a function that only reads; gives a fingerprint of the rows too.
///
/// # Errors
/// As [`call`]; `method_not_allowed` for a function that may write.
pub(super) async fn read(app: &App, call: Call<'_>) -> Result<(RowsHeader, BytesMut), Failure> {
    let tally = begun(app, &call.whom, call.params.len());
    let (whom, how, function) = (call.whom, call.how, call.function);
    let mut fingerprint = 0;
    let result = async {
        let (target, frame) = framed(app, &call, Access::Read, Form::Whole)?;
        let mut body = answer(app, &call.whom, target, &frame).await?;
        fingerprint = body.try_get_u64_le().map_err(|_| Failure::internal("an executor's answer does not decode"))?;
        Ok(body)
    };
    let result = result.await;
    Ok((fingerprint, ended(app, tally, whom, how, function, result)?))
}

/// Rows as lines, of which the first are there.
pub(super) struct Lines {
    /// What was read and not yet given.
    ready: Option<Answer>,
    lease: Lease,
    database: Arc<str>,
    told: Box<Told>,
}

/// What is counted of [`Lines`], and what the log is told if they fail.
struct Told {
    app: Arc<App>,
    tally: Tally,
    /// Bytes given so far.
    given: usize,
    whom: SentNames,
    function: String,
    id: String,
    traceparent: Option<String>,
}

impl Told {
    fn new(app: &Arc<App>, call: &Call<'_>) -> Box<Told> {
        Box::new(Told {
            app: app.clone(),
            tally: begun(app, &call.whom, call.params.len()),
            given: 0,
            whom: call.whom.into(),
            function: call.function.to_owned(),
            id: call.how.id.to_owned(),
            traceparent: call.how.headers.and_then(traceparent).map(str::to_owned),
        })
    }

    fn failed(&mut self, failure: &Failure) {
        let took = self.tally.failed(failure);
        let failed = Failed {
            platform: &self.whom.platform,
            tenant: self.whom.tenant.as_deref().unwrap_or_default(),
            function: &self.function,
            id: &self.id,
            traceparent: self.traceparent.as_deref(),
        };
        log(&self.app, &failed, failure, took);
    }
}

/// What there is of them next.
pub(super) enum Part {
    More(Bytes, Lines),
    /// The transaction has committed.
    Last(Bytes),
    Failed(Failure),
}

/// As [`call`], and as [`read`] by `access`; gives the rows as lines while the function runs. What fails before the first of them are
/// there is an error here.
///
/// # Errors
/// As [`call`] and [`read`].
pub(super) async fn lines(app: &Arc<App>, call: Call<'_>, access: Access) -> Result<Lines, Failure> {
    let mut told = Told::new(app, &call);
    let begun = async {
        let (target, frame) = framed(app, &call, access, Form::Lines)?;
        let database = target.database.clone();
        Ok((begin(app, &call.whom, target, &frame).await?, database))
    };
    match begun.await {
        Ok(((answer, lease), database)) => Ok(Lines { ready: Some(answer), lease, database, told }),
        Err(failure) => {
            told.failed(&failure);
            Err(failure)
        }
    }
}

impl Lines {
    /// The next part; the one after it is asked for when this one is wanted.
    pub(super) async fn next(self) -> Part {
        let Lines { ready, lease, database, mut told } = self;
        let ((kind, mut text), lease) = match ready {
            Some(answer) => (answer, lease),
            None => match broker::next(lease).await {
                Ok(next) => next,
                Err(failure) => {
                    let failure = failure.database(&*database);
                    told.failed(&failure);
                    return Part::Failed(failure);
                }
            },
        };
        text.advance(size_of::<RowsHeader>().min(text.len()));
        told.given += text.len();
        match kind {
            FrameKind::Lines => Part::More(text.freeze(), Lines { ready: None, lease, database, told }),
            _ => {
                told.tally.ok(told.tally.started.elapsed(), told.given);
                Part::Last(text.freeze())
            }
        }
    }
}

/// A call of a batch, as it is sent.
#[derive(Deserialize)]
pub(super) struct BatchCall<'a> {
    #[serde(borrow)]
    function: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// Calls functions in one transaction; gives the body of the answer, ready to be sent.
///
/// # Errors
/// As [`call`], with the place of the call that failed.
pub(super) async fn batch(
    app: &App,
    whom: Whom<'_>,
    how: How<'_>,
    calls: &[BatchCall<'_>],
) -> Result<BytesMut, Failure> {
    let tally = begun(app, &whom, calls.iter().map(|call| text_of(call.params).len()).sum());
    let result = batched(app, whom, how, calls).await;
    ended(app, tally, whom, how, "batch", result)
}

async fn batched(app: &App, whom: Whom<'_>, how: How<'_>, calls: &[BatchCall<'_>]) -> Result<BytesMut, Failure> {
    let most = app.settings().max_batch;
    if calls.len() > most {
        let failure =
            Failure::new(ErrorCode::InvalidRequest, format!("a batch has at most {most} calls, not {}", calls.len()));
        return Err(failure.hint("Send several batches, or raise stonescriptdb.max_batch."));
    }
    let (target, frame) = {
        let registry = app.registry();
        let called = registry.called(whom.platform, whom.schema, whom.tenant)?;
        let calls =
            calls.iter().map(|call| OneCall { function: &call.function, params: text_of(call.params) }).collect();
        let request =
            BatchRequest { calls, rules: how.rules(app, Access::Write, Form::Whole), context: how.context(&called) };
        (called.target.clone(), encoded(FrameKind::Batch, &request, how.headers)?)
    };
    let mut body = answer(app, &whom, target, &frame).await?;
    body.advance(size_of::<RowsHeader>());
    Ok(body)
}

/// The parameters as they were sent; none at all if there are none.
pub(super) fn text_of(params: Option<&RawValue>) -> &[u8] {
    params.map_or(&[][..], |params| params.get().as_bytes())
}

fn framed(app: &App, call: &Call<'_>, access: Access, form: Form) -> Result<(Arc<Target>, Vec<u8>), Failure> {
    let registry = app.registry();
    let called = registry.called(call.whom.platform, call.whom.schema, call.whom.tenant)?;
    let request = CallRequest {
        function: call.function,
        params: call.params,
        rules: call.how.rules(app, access, form),
        context: call.how.context(&called),
    };
    Ok((called.target.clone(), encoded(FrameKind::Call, &request, call.how.headers)?))
}

/// How a call is carried out, by the settings and what its caller asks for.
pub(crate) fn rules(settings: &Settings, asked_ms: u32, retry: bool, access: Access, form: Form) -> Rules {
    Rules {
        timeout_ms: settings.call_timeout_ms,
        asked_ms,
        max_result: settings.max_result_size,
        retries: retry.then_some(settings.max_call_retries),
        access,
        form,
    }
}

impl<'a> How<'a> {
    fn rules(&self, app: &App, access: Access, form: Form) -> Rules {
        rules(&app.settings(), self.asked_ms, self.retry, access, form)
    }

    fn context(&self, called: &Called<'a>) -> RequestContext<'a> {
        RequestContext {
            id: self.id,
            platform: called.platform,
            tenant: called.tenant,
            role: self.role,
            method: self.method,
            client: self.client,
        }
    }
}

fn encoded<M: Serialize>(kind: FrameKind, request: &M, headers: Option<&HeaderMap>) -> Result<Vec<u8>, Failure> {
    let tail = |frame: &mut Vec<u8>| headers.into_iter().for_each(|headers| append(frame, headers));
    encode_with(kind, request, tail).map_err(|error| Failure::new(ErrorCode::PayloadTooLarge, error.to_string()))
}

/// The headers, a line each, as they are: only a function that asks for them pays for making JSON of them. What proves who the caller is
/// stays here.
pub(super) fn append(frame: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        if [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) {
            continue;
        }
        frame.extend_from_slice(name.as_str().as_bytes());
        frame.push(b':');
        frame.extend_from_slice(value.as_bytes());
        frame.push(b'\n');
    }
}

/// Has an executor answer; gives the payload of its frame.
async fn answer(app: &App, whom: &Whom<'_>, target: Arc<Target>, frame: &[u8]) -> Result<BytesMut, Failure> {
    begin(app, whom, target, frame).await.map(|((_, payload), _)| payload)
}

/// As [`answer`]; gives the whole answer and the lease.
async fn begin(app: &App, whom: &Whom<'_>, target: Arc<Target>, frame: &[u8]) -> Result<(Answer, Lease), Failure> {
    let begun = match broker::begin(app, &target, frame).await {
        Err(Broken::NotBegun(failure)) if failure.code == ErrorCode::ConnectionFailed => {
            // Perhaps the database went away or got another name a moment ago: then look again.
            app.main.read_registry().await;
            let now = app.registry().called(whom.platform, whom.schema, whom.tenant)?.target.clone();
            if now == target { Err(failure) } else { broker::begin(app, &now, frame).await.map_err(Failure::from) }
        }
        other => other.map_err(Failure::from),
    };
    begun.map_err(|failure| Failure { database: Some(target.database.to_string()), ..failure })
}

/// Ends the body: the executor's text lacks the closing brace. Gives the time since the call began.
pub(crate) fn end(body: &mut impl BufMut, started: Instant) -> Duration {
    let took = started.elapsed();
    body.put_slice(b",\"execution_time_ms\":");
    body.put_slice(itoa::Buffer::new().format(took.as_millis() as u64).as_bytes());
    body.put_slice(b"}");
    took
}
