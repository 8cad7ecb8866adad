//! Accepts connections and sees each one to its end.

mod activity;
mod connection;
mod socket;
mod threads;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::config::HttpSettings;
use crate::http::stage::{Stage, reached};
use connection::Connections;
pub use connection::Peer;
pub use threads::{Placing, Threads};

/// After an accept that failed for want of file descriptors or memory: some may be free then.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// For the refusals of what is cut to be written.
const CUT_GRACE: Duration = Duration::from_millis(250);

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Connections that did not finish in time.
    pub cut: usize,
}

/// Serves one listener until the stage says that it is over, and every connection has ended.
///
/// Accepts while the stage is before [`Stage::Closing`], also what waits in the backlog by then; lets
/// connections finish until [`Stage::Cut`], then ends them.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpSettings,
    stage: watch::Receiver<Stage>,
    placing: Placing,
) -> Served {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let connections = Connections::new(router, limits, stage.clone());
    let mut open = JoinSet::new();
    let begin = |open: &mut JoinSet<()>, socket, slot| {
        let connections = connections.clone();
        placing.serve(open, socket, |socket| connections.serve(socket, slot));
    };
    let accepting = async {
        loop {
            let accepted = accept(&listener, &slots).await;
            while open.try_join_next().is_some() {}
            let Some((socket, slot)) = accepted else { continue };
            begin(&mut open, socket, slot);
        }
    };
    tokio::select! {
        () = accepting => {}
        () = reached(stage.clone(), Stage::Closing) => {}
    }
    for (socket, slot) in backlog(listener, &slots) {
        begin(&mut open, socket, slot);
    }
    tokio::select! {
        () = async { while open.join_next().await.is_some() {} } => {}
        () = async { reached(stage, Stage::Cut).await; sleep(CUT_GRACE).await } => {}
    }
    while open.try_join_next().is_some() {}
    let cut = open.len();
    open.shutdown().await;
    Served { cut }
}

/// The next connection. Waits for a free slot first: what is over the limit waits in the backlog,
/// where it costs nothing.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, _)) => Some((socket, slot)),
        Err(error) if of_the_connection(&error) => None,
        Err(error) => {
            tracing::warn!(%error, "cannot accept connections");
            sleep(ACCEPT_BACKOFF).await;
            None
        }
    }
}

/// A connection that broke before it was accepted says nothing about the listener.
fn of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Accepts what has connected already and would be reset by closing the listener, as far as there are
/// slots, and closes it.
fn backlog(
    listener: TcpListener,
    slots: &Arc<Semaphore>,
) -> Vec<(TcpStream, OwnedSemaphorePermit)> {
    let mut waiting = Vec::new();
    // Asked of the system itself: the runtime may not have been told yet.
    let Ok(listener) = listener.into_std() else { return waiting };
    while let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if of_the_connection(&error) => continue,
            Err(_) => break,
        };
        let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
        waiting.extend(socket.ok().map(|socket| (socket, slot)));
    }
    waiting
}

#[cfg(test)]
mod tests;
