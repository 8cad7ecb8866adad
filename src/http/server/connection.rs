//! One connection: HTTP/1 or HTTP/2, whichever comes, within explicit limits.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use crate::config::HttpSettings;
use crate::http::server::activity::{Activity, InFlight};
use crate::http::server::socket::{close, lend};
use crate::http::stage::{Stage, reached};

/// Of a request's head.
const HEAD_BYTES_MAX: u16 = 16 << 10;
/// Of HTTP/1's read buffer: most bodies come in one piece.
const READ_BYTES_MAX: usize = 64 << 10;
const STREAMS_MAX: u32 = 128;
/// Streams that a client opened and reset before we looked (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 20;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was accepted just before the end may still send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

const LATE_HEAD: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What all connections of one listener share.
#[derive(Clone)]
pub struct Connections {
    router: Router,
    limits: HttpSettings,
    stage: watch::Receiver<Stage>,
    /// The runtime of the listener.
    runtime: Handle,
}

impl Connections {
    pub fn new(router: Router, limits: HttpSettings, stage: watch::Receiver<Stage>) -> Self {
        Self { router, limits, stage, runtime: Handle::current() }
    }

    /// Serves one connection to its end. `_slot` is its place among those allowed.
    pub async fn serve(self, socket: TcpStream, _slot: OwnedSemaphorePermit) {
        // Answers are small and whole: waiting to fill a packet only delays them.
        let _ = socket.set_nodelay(true);
        let peer = socket.peer_addr().ok().map(|address| Peer(address.ip()));
        let activity = Activity::new(&self.limits);
        let (lent, returned) = lend(socket, activity.clone());
        let expired = self.drive(TokioIo::new(lent), &activity, peer).await;
        if let Ok(socket) = returned.await {
            let last = if expired && activity.has_partial_head() { LATE_HEAD } else { b"" };
            close(socket, last).await;
        }
    }

    /// Drives HTTP on a socket. `true` when it ended because nothing happened for too long.
    async fn drive<I>(self, io: I, activity: &Activity, peer: Option<Peer>) -> bool
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    {
        let router = self.router;
        let requests = activity.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            answer(router.clone(), requests.begin(), request)
        });
        let builder = builder(Tasks::on(self.runtime));
        let mut http = pin!(builder.serve_connection(io, service));
        let stage = self.stage.clone();
        let mut closing = pin!(reached(self.stage, Stage::Closing).fuse());
        let mut listening = false;
        let mut timer = pin!(sleep_until(activity.deadline()));
        let mut last_call: Option<Instant> = None;
        let mut told = false;
        poll_fn(|cx| {
            // All connections share its lock: it is asked once, to be woken by it, and then not until
            // something has changed.
            let ask =
                !std::mem::replace(&mut listening, true) || stage.has_changed().unwrap_or(true);
            if ask && closing.as_mut().poll(cx).is_ready() {
                last_call = Some(Instant::now() + FIRST_REQUEST);
            }
            if http.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            if last_call.is_some() && !told && !activity.is_fresh() {
                told = true;
                http.as_mut().graceful_shutdown();
                cx.waker().wake_by_ref();
            }
            // Whatever was read or answered happened in the poll above, so the deadline is current.
            let first = last_call.filter(|_| activity.is_fresh());
            let deadline = first.map_or(activity.deadline(), |at| at.min(activity.deadline()));
            // Moved forward at once, back only when it goes off: that is once in a while, not once for
            // every request.
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            while timer.as_mut().poll(cx).is_ready() {
                if deadline <= Instant::now() {
                    return Poll::Ready(true);
                }
                timer.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

/// Sends a request through the router, and keeps its place in flight until the answer is out.
async fn answer(
    router: Router,
    in_flight: InFlight,
    request: Request<Incoming>,
) -> Result<Response<Counted>, Infallible> {
    let response = if head_bytes(&request) > HEAD_BYTES_MAX.into() {
        head_too_large()
    } else {
        let activity = in_flight.activity().clone();
        router.oneshot(request.map(|body| Body::new(Watched { body, activity }))).await?
    };
    Ok(response.map(|body| Counted { body, in_flight }))
}

/// The bytes of a head, as HTTP/1 writes it; on HTTP/2 the same limit was held to already.
fn head_bytes(request: &Request<Incoming>) -> usize {
    const SEPARATORS: usize = 4;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    headers.fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + SEPARATORS)
}

/// Bare, as the answer is to a head that does not even fit the buffer.
fn head_too_large() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn builder(streams: Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // At most 100 headers, which is its default: where the number is said, each request fills two tables of it.
        // Our own timers tell a slow head from an idle connection.
        .header_read_timeout(None)
        .max_buf_size(READ_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX.into())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// The streams of an HTTP/2 connection. They end with it, and run on any thread of the listener's runtime: a
/// connection may have many.
#[derive(Debug, Clone)]
struct Tasks {
    running: Arc<Mutex<JoinSet<()>>>,
    runtime: Handle,
}

impl Tasks {
    fn on(runtime: Handle) -> Self {
        Self { running: Arc::default(), runtime }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let mut tasks = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }
}

/// The body of a request, each piece of which is a sign of work.
struct Watched {
    body: Incoming,
    activity: Activity,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = frame {
            self.activity.worked();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which holds its request's place.
struct Counted {
    body: Body,
    in_flight: InFlight,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = frame {
            self.in_flight.activity().worked();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
