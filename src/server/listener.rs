//! The threads, the listening sockets, and their end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::doors::Doors;
use super::front::Front;
use super::{App, SOCKET_FOLDER, SOCKET_PATH, TOUCHED_FOLDER, apart, broker, deploy, log, tokens};
use crate::postgres::worker;

/// How often idle executors are looked over.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a port that is taken is tried again.
const BIND_RETRY: Duration = Duration::from_secs(2);
/// Descriptors that are not for HTTP: executors, backends, PostgreSQL's own files.
const OWN_DESCRIPTORS: usize = 400;
/// The kernel's queue of connections not yet accepted.
const BACKLOG: u32 = 1024;

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
    runtime.spawn(app.clone().essential("broker", broker::serve(app.clone(), socket)));
    runtime.spawn(app.clone().essential("pool", look_after(app.clone())));
    runtime.spawn(tokens::write_used(app.clone()));
    runtime.spawn(log::sum_up(app.clone()));
    runtime.spawn(app.clone().essential("registry", {
        let app = app.clone();
        async move {
            deploy::reconcile(&app).await;
            deploy::follow(app).await;
        }
    }));
    runtime.spawn(app.clone().essential("listener", listen(app, alive)));
    std::thread::Builder::new().name("stonescriptdb".to_owned()).spawn(move || {
        let _ = runtime.block_on(stopped);
        runtime.shutdown_background();
        drop(tell);
    })?;
    Ok(Threads { stop, ended, connections })
}

/// One thread does without the work stealing between several: it is the default, for on few cores the executors need the others.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.thread_name("stonescriptdb").max_blocking_threads(apart::THREADS).enable_all().build()
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
    let front = Front::new(app.clone(), alive, room);
    // What the doors in use were made of, where HTTP is served now, and what keeps the listeners.
    let (mut made_of, mut served, mut listeners) = (None, None, None);
    loop {
        let settings = app.settings();
        let speaks = front.speak(&settings);
        let asked = (settings.listen_addresses.clone(), settings.port, settings.listener_networks.clone());
        if made_of.as_ref() != Some(&asked) {
            match Doors::of(&settings, |message| app.main.log(message)).await {
                Ok(doors) => {
                    app.set_doors(doors);
                    made_of = Some(asked);
                }
                Err(reason) => app.main.log(match &made_of {
                    Some(_) => format!(
                        "stonescriptdb.listener_networks was not reloaded: {reason}; listeners, and whom they let in, stay as they were"
                    ),
                    None => format!(
                        "stonescriptdb.listener_networks is of no use: {reason}. HTTP is not served until that is mended and the \
                         settings are reloaded"
                    ),
                }),
            }
        }
        let wanted = (speaks && made_of.is_some()).then(|| app.doors().addresses().to_vec());
        if wanted != served {
            // Closed before others are opened: they may be the same.
            drop(listeners.take());
            let (stop, stopped) = watch::channel(());
            for address in wanted.iter().flatten() {
                tokio::spawn(serve_address(front.clone(), *address, stopped.clone()));
            }
            listeners = Some(stop);
            served = wanted;
        }
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            changed = reloads.changed() => if changed.is_err() { return },
        }
    }
}

async fn serve_address(front: Front, address: SocketAddr, mut stopped: watch::Receiver<()>) {
    let app = front.app();
    let mut stopping = app.stopping.subscribe();
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        _ = stopped.changed() => {}
        () = async {
            let listener = bind_patiently(app, address).await;
            app.main.log(format!("serving {} on {address}", front.spoken()));
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => front.admit(stream, peer),
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
