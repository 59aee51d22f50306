//! The threads, the listening sockets, and their end.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::direct::{self, Back, Habit, Offer};
use super::http::Io;
use super::outgoing::Outgoing;
use super::{App, SOCKET_FOLDER, SOCKET_PATH, TOUCHED_FOLDER, broker, deploy, http};
use crate::postgres::worker;
use crate::settings::Settings;

/// How often idle executors are looked over.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a port that is taken is tried again.
const BIND_RETRY: Duration = Duration::from_secs(2);
/// Descriptors that are not for HTTP: executors, backends, PostgreSQL's own files.
const OWN_DESCRIPTORS: usize = 400;
/// The kernel's queue of connections not yet accepted.
const BACKLOG: u32 = 1024;
/// The head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The running threads.
pub(super) struct Threads {
    /// Dropped, it ends the threads; the other end tells that they have ended.
    stop: oneshot::Sender<()>,
    ended: std::sync::mpsc::Receiver<()>,
    /// Every HTTP connection has a clone; it is closed when the last is gone.
    connections: mpsc::Receiver<()>,
}

/// Opens the broker's socket and starts the threads. Call with signals blocked.
///
/// # Errors
/// The socket's folder or the socket cannot be made, or no thread can be started.
pub(super) fn start(app: Arc<App>) -> std::io::Result<Threads> {
    let runtime = runtime(app.settings().io_threads)?;
    let socket = {
        let _inside = runtime.enter();
        open_socket()?
    };
    let (alive, connections) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel();
    let (tell, ended) = std::sync::mpsc::channel();
    runtime.spawn(broker::serve(app.clone(), socket));
    runtime.spawn(look_after(app.clone()));
    runtime.spawn({
        let app = app.clone();
        async move {
            deploy::reconcile(&app).await;
            deploy::follow(app).await;
        }
    });
    runtime.spawn(listen(app, alive));
    std::thread::Builder::new().name("stonescriptdb".to_owned()).spawn(move || {
        let _ = runtime.block_on(stopped);
        runtime.shutdown_background();
        drop(tell);
    })?;
    Ok(Threads { stop, ended, connections })
}

/// One thread does without the work stealing between several: it is the default, for on few cores the executors need the others.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("stonescriptdb")
            .enable_all()
            .build(),
    }
}

impl Threads {
    /// Whether the last connection is closed.
    pub(super) fn is_drained(&mut self) -> bool {
        matches!(self.connections.try_recv(), Err(mpsc::error::TryRecvError::Disconnected))
    }

    /// Ends the threads, whatever they do.
    pub(super) fn stop(self) {
        drop(self.stop);
        let _ = self.ended.recv_timeout(Duration::from_millis(200));
    }
}

fn open_socket() -> std::io::Result<UnixListener> {
    match std::fs::DirBuilder::new().mode(0o700).create(SOCKET_FOLDER) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => std::fs::set_permissions(SOCKET_FOLDER, std::fs::Permissions::from_mode(0o700))?,
    }
    match std::fs::DirBuilder::new().mode(0o700).create(TOUCHED_FOLDER) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match std::fs::remove_file(SOCKET_PATH) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(SOCKET_PATH)
}

async fn look_after(app: Arc<App>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        app.pool.look_after();
    }
}

/// Keeps the HTTP listeners as the settings say, through reloads, until the worker ends.
async fn listen(app: Arc<App>, alive: mpsc::Sender<()>) {
    let mut stopping = app.stopping.subscribe();
    let mut reloads = app.reloads.subscribe();
    let room = worker::raise_descriptor_limit().saturating_sub(OWN_DESCRIPTORS);
    let front = Front { router: http::router(app.clone()), app: app.clone(), alive, connections: Arc::default(), room };
    loop {
        let settings = app.settings();
        let (stop_listeners, stopped) = watch::channel(());
        for address in addresses(&app, &settings) {
            tokio::spawn(serve_address(front.clone(), address, stopped.clone()));
        }
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                changed = reloads.changed() => if changed.is_err() { return },
            }
            let now = app.settings();
            if now.listen_addresses != settings.listen_addresses || now.port != settings.port {
                break;
            }
        }
        drop(stop_listeners);
    }
}

fn addresses(app: &App, settings: &Settings) -> Vec<SocketAddr> {
    if settings.port == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for host in &settings.listen_addresses {
        let resolved = match host.as_str() {
            "*" => {
                Ok(vec![([0, 0, 0, 0], settings.port).into(), (std::net::Ipv6Addr::UNSPECIFIED, settings.port).into()])
            }
            host => std::net::ToSocketAddrs::to_socket_addrs(&(host, settings.port)).map(Iterator::collect),
        };
        match resolved {
            Ok(addresses) => found.extend::<Vec<SocketAddr>>(addresses),
            Err(error) => {
                app.main.log(format!(
                    "\"{host}\" in stonescriptdb.listen_addresses is no address of this machine: {error}"
                ));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What every connection shares.
#[derive(Clone)]
struct Front {
    app: Arc<App>,
    router: Router,
    alive: mpsc::Sender<()>,
    /// Open HTTP connections.
    connections: Arc<AtomicUsize>,
    /// How many of them there are descriptors for.
    room: usize,
}

async fn serve_address(front: Front, address: SocketAddr, mut stopped: watch::Receiver<()>) {
    let app = &front.app;
    let mut stopping = app.stopping.subscribe();
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        _ = stopped.changed() => {}
        () = async {
            let listener = bind_patiently(app, address).await;
            app.main.log(format!("serving HTTP on {address}"));
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => admit(&front, stream, peer),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        } => {}
    }
}

/// Tries until the address is free, and says once what stands in the way.
async fn bind_patiently(app: &App, address: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match bind(address) {
            Ok(listener) => return listener,
            Err(error) if !told => {
                told = true;
                app.main.log(format!(
                    "could not listen on {address}: {error}; trying again every {} s. If another program uses the port, stop it or \
                     change stonescriptdb.port and reload",
                    BIND_RETRY.as_secs()
                ));
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_RETRY).await;
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn admit(front: &Front, stream: TcpStream, peer: SocketAddr) {
    if front.connections.load(Relaxed) >= front.app.settings().max_http_connections.min(front.room) {
        tokio::spawn(refuse(stream));
        return;
    }
    front.connections.fetch_add(1, Relaxed);
    let counted = Counted(front.connections.clone());
    let front = front.clone();
    tokio::spawn(async move {
        let patience = front.app.settings().stall_timeout;
        let stream = Outgoing::new(stream, patience);
        stream.serve(|stream| serve_connection(front.app, front.router, stream, patience, peer)).await;
        drop(counted);
        drop(front.alive);
    });
}

/// One connection in the count, for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn refuse(mut stream: TcpStream) {
    let answer = http::too_many_connections();
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&answer)).await;
}

async fn serve_connection(app: Arc<App>, router: Router, mut stream: Outgoing, patience: Duration, peer: SocketAddr) {
    let habit = Habit::default();
    let mut read = Vec::new();
    while let Some((io, more, offer)) =
        serve_by_hyper(&app, &router, &habit, Io::new(stream, read, habit.clone()), peer).await
    {
        let flushes = io.stream.flushes();
        let Ok(waiting) = io.stream.into_stream().into_std() else { return };
        match direct::hand_over(&app, waiting, more.into(), offer, peer.ip()).await {
            Back::Closed => return,
            Back::Last { stream: last, words } => {
                let Ok(last) = TcpStream::from_std(last) else { return };
                let _ = Outgoing::again(last, patience, flushes).write_all(&words).await;
                return;
            }
            Back::Open { stream: back, answer, read: unanswered, served } => {
                habit.back(served);
                let Ok(back) = TcpStream::from_std(back) else { return };
                stream = Outgoing::again(back, patience, flushes);
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
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
    io: Io,
    peer: SocketAddr,
) -> Option<(Io, Bytes, Box<Offer>)> {
    let settings = app.settings();
    let mut stopping = app.stopping.subscribe();
    let service = service_fn(move |request| {
        habit.begun();
        http::respond(app.clone(), router.clone(), habit.clone(), peer.ip(), request)
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(io), service);
    let due = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending if habit.is_due() => Poll::Ready(habit.offer()),
        Poll::Pending => Poll::Pending,
    });
    tokio::select! {
        offer = due => {
            let offer = offer?;
            let parts = connection.into_parts();
            return Some((parts.io.into_inner(), parts.read_buf, offer));
        }
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    // It is not to be passed on any more.
    habit.interrupted();
    Pin::new(&mut connection).graceful_shutdown();
    let _ = connection.await;
    None
}
