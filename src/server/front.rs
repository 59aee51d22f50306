//! Connections: which are let in, and their service until they are closed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::body::{Body, Bytes};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::direct::{self, Back, Habit, Offer};
use super::doors::Ends;
use super::http::{Io, Pace};
use super::outgoing::{Outgoing, Watched};
use super::parting::Parting;
use super::tls::{self, Speech};
use super::{App, http};
use crate::postgres::counters;
use crate::settings::Settings;

/// How long a client that is turned away may take to be told so.
const SAYING: Duration = Duration::from_secs(1);
/// hyper's own number of header lines, for which it has room without asking for memory.
const USUAL_HEADERS: usize = 100;

/// What every connection shares.
#[derive(Clone)]
pub(super) struct Front(Arc<Shared>);

struct Shared {
    app: Arc<App>,
    router: Router,
    /// Every connection has a clone.
    alive: mpsc::Sender<()>,
    /// How many connections there are descriptors for.
    room: usize,
    /// Open connections, by address.
    of_address: Mutex<HashMap<IpAddr, usize>>,
    /// `None`: TLS is asked for and cannot be had.
    speech: RwLock<Option<Speech>>,
}

impl Front {
    pub(super) fn new(app: Arc<App>, alive: mpsc::Sender<()>, room: usize) -> Front {
        Front(Arc::new(Shared {
            router: http::router(app.clone()),
            app,
            alive,
            room,
            of_address: Mutex::default(),
            speech: RwLock::new(None),
        }))
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.0.app
    }

    /// Reads the certificate again; whether there is anything to be spoken. If the new files are of no use, the old ones stay, for
    /// connections to come as for those that are open. But where TLS is asked for, plain HTTP is not served instead.
    pub(super) fn speak(&self, settings: &Settings) -> bool {
        let log = |message: String| self.0.app.main.log(message);
        let mut speech = self.0.speech.write().unwrap_or_else(PoisonError::into_inner);
        match (Speech::load(settings.tls.as_ref()), &*speech) {
            (Ok(new), old) => {
                if let Some(old) = old
                    && old.name() != new.name()
                {
                    log(format!("new connections speak {}", new.name()));
                }
                *speech = Some(new);
            }
            (Err(reason), Some(Speech::Tls(_))) => {
                log(format!("TLS was not reloaded: {reason}; what was loaded before stays in use"));
            }
            (Err(reason), _) => {
                log(format!(
                    "TLS cannot be served: {reason}. HTTP is not served until that is mended and the settings are reloaded"
                ));
                *speech = None;
            }
        }
        speech.is_some()
    }

    fn speech(&self) -> Option<Speech> {
        self.0.speech.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is spoken, for the log.
    pub(super) fn spoken(&self) -> &'static str {
        self.speech().map_or("nothing", |speech| speech.name())
    }

    /// Serves a connection, or turns it away.
    pub(super) fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let settings = self.0.app.settings();
        // Without it there is no telling whom its listener lets in; its client has gone.
        let Ok(local) = stream.local_addr() else { return };
        let ends = Ends { peer: peer.ip(), local: local.ip() };
        let Some(speech) = self.speech() else { return };
        let counted = match self.count(peer.ip().to_canonical(), &settings) {
            Ok(counted) => counted,
            Err(words) => {
                // Who waits for a handshake would not understand them.
                if matches!(speech, Speech::Plain) {
                    tokio::spawn(tell(stream, words()));
                }
                return;
            }
        };
        tokio::spawn(async move {
            let app = &counted.front.0.app;
            let patience = settings.stall_timeout;
            let stream = Watched::new(stream, patience);
            let stream = match speech {
                Speech::Plain => Outgoing::new(stream),
                Speech::Tls(acceptor) => {
                    let mut stopping = app.stopping.subscribe();
                    let log = |error: String| app.refusals.note_connection(app, peer.ip(), &error);
                    let shaken = tokio::select! {
                        shaken = tls::shake(&acceptor, stream, settings.header_timeout, log) => shaken,
                        _ = stopping.wait_for(|stopping| *stopping) => None,
                    };
                    let Some(stream) = shaken else { return };
                    Outgoing::tls(stream)
                }
            };
            stream.serve(|stream| serve(app, &counted.front.0.router, stream, patience, ends)).await;
        });
    }

    /// Counts a connection.
    ///
    /// # Errors
    /// What a client is told for which there is no room.
    fn count(&self, address: IpAddr, settings: &Settings) -> Result<Counted, fn() -> Vec<u8>> {
        let most = settings.max_http_connections.min(self.0.room);
        if self.0.app.connections.load(Relaxed) >= most {
            return Err(http::too_many_connections);
        }
        // Behind a proxy are many clients.
        let is_proxy = settings.trusted_proxies.iter().any(|network| network.contains(&address));
        let limit = settings.max_http_connections_per_address;
        let address = (!is_proxy && limit > 0).then(|| network_of(address));
        if let Some(address) = address {
            let mut counts = self.0.of_address();
            let count = counts.entry(address).or_default();
            if *count >= limit {
                return Err(http::too_many_of_address);
            }
            *count += 1;
        }
        self.0.app.connections.fetch_add(1, Relaxed);
        counters::connection();
        Ok(Counted { front: self.clone(), address, _alive: self.0.alive.clone() })
    }
}

impl Shared {
    fn of_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.of_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: of IPv6 the first 64 bits, for the others are its owner's to choose.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// One connection in the counts, for as long as it lives.
struct Counted {
    front: Front,
    /// None of a proxy.
    address: Option<IpAddr>,
    _alive: mpsc::Sender<()>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let shared = &self.front.0;
        shared.app.connections.fetch_sub(1, Relaxed);
        if let Some(address) = self.address {
            let mut counts = shared.of_address();
            if let Some(count) = counts.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&address);
                }
            }
        }
    }
}

/// Says something to a client that is turned away, and closes the connection when it has read it.
pub(super) async fn tell(mut stream: TcpStream, words: Vec<u8>) {
    let told = tokio::time::timeout(SAYING, stream.write_all(&words)).await;
    if let Ok(Ok(())) = told {
        let mut parting = Parting::default();
        let _ = poll_fn(|context| parting.poll(Pin::new(&mut stream), context)).await;
    }
}

async fn serve(app: &Arc<App>, router: &Router, mut stream: Outgoing, patience: Duration, ends: Ends) {
    // A TLS session cannot be passed on.
    let habit = if stream.is_plain() { Habit::default() } else { Habit::of_settled() };
    let mut pace = Pace::of_new();
    let mut read = Vec::new();
    loop {
        let settings = app.settings();
        let io = Io::new(stream, read, habit.clone(), pace.clone(), &settings);
        let Some((io, of_hyper, offer)) = serve_by_hyper(app, router, &habit, &pace, io, ends).await else { return };
        let (plain, unanswered) = io.into_parts(&of_hyper);
        let flushes = plain.flushes();
        let Some(Ok(waiting)) = plain.into_stream().map(TcpStream::into_std) else { return };
        match direct::hand_over(app, waiting, unanswered, offer, ends).await {
            Back::Closed => return,
            Back::Last { stream: last, words } => {
                let Ok(last) = TcpStream::from_std(last) else { return };
                let mut last = Outgoing::again(last, patience, flushes);
                let _ = last.write_all(&words).await;
                last.close();
                return;
            }
            Back::Open { stream: back, answer, read: unanswered, served } => {
                habit.back(served);
                let Ok(back) = TcpStream::from_std(back) else { return };
                stream = Outgoing::again(back, patience, flushes);
                if stream.write_all(&answer).await.is_err() {
                    stream.close();
                    return;
                }
                pace = if unanswered.is_empty() { Pace::of_idle() } else { Pace::of_new() };
                read = unanswered;
            }
        }
    }
}

/// Serves a connection until it is closed, or until an executor may have it: then gives it, and what was read of the next request.
async fn serve_by_hyper(
    app: &Arc<App>,
    router: &Router,
    habit: &Habit,
    pace: &Pace,
    io: Io,
    ends: Ends,
) -> Option<(Io, Bytes, Box<Offer>)> {
    let settings = app.settings();
    let mut stopping = app.stopping.subscribe();
    let service = service_fn(move |request| {
        habit.begun();
        pace.begun();
        let has_body = !request.is_end_stream();
        let reply = http::respond(app.clone(), router.clone(), habit.clone(), ends, request);
        async move {
            let Ok(response) = reply.await;
            if has_body && response.status().as_u16() >= 400 {
                pace.refused();
            }
            Ok::<_, Infallible>(response.map(|body| pace.of_answer(body)))
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.max_buf_size(settings.max_header_size);
    if settings.max_headers != USUAL_HEADERS {
        server.max_headers(settings.max_headers);
    }
    // The limits of time are in `Io`.
    server.header_read_timeout(None);
    let mut connection = server.serve_connection(TokioIo::new(io), service);
    let due = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending if habit.is_due() => Poll::Ready(habit.offer()),
        Poll::Pending => Poll::Pending,
    });
    let offer = tokio::select! {
        offer = due => Some(offer),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    let offer = if let Some(offer) = offer {
        offer
    } else {
        // It is not to be passed on any more.
        habit.interrupted();
        Pin::new(&mut connection).graceful_shutdown();
        let _ = (&mut connection).await;
        None
    };
    let parts = connection.into_parts();
    let io = parts.io.into_inner();
    match offer {
        Some(offer) => Some((io, parts.read_buf, offer)),
        None => {
            io.close();
            None
        }
    }
}
