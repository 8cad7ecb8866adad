//! One client: a connection that is kept alive, and one request on it at a time.

use std::future::{Future, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::load::shot::Shot;
use crate::load::target::Target;
use crate::load::wire::{Counted, Traffic};

/// What came back, read to its end.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Where the header says it in seconds.
    pub retry_after: Option<Duration>,
    /// The first bytes of the body, as many as were asked for.
    pub start: Vec<u8>,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no connection to {host}: {source}")]
    Connect { host: String, source: io::Error },
    #[error("the connection ended before the answer did: {0}")]
    Broken(#[from] hyper::Error),
}

/// Sends requests one after the other. Its connection is opened when there is none.
#[derive(Debug)]
pub struct Client {
    target: Arc<Target>,
    traffic: Arc<Traffic>,
    /// In a box: it is handed on for each request, and it is large.
    line: Option<Box<Line>>,
}

/// A connection. It is driven by whoever waits for something that comes over it: no task of its own has
/// to be woken for each answer.
#[derive(Debug)]
struct Line {
    sender: SendRequest<Whole>,
    connection: Connection<TokioIo<Counted>, Whole>,
    closed: bool,
}

impl Client {
    #[must_use]
    pub fn new(target: Arc<Target>, traffic: Arc<Traffic>) -> Self {
        Self { target, traffic, line: None }
    }

    /// Sends one request and reads its answer, of whose body the first `keep` bytes are kept.
    ///
    /// # Errors
    /// [`ClientError`] when there is no connection, or it ends before the answer does.
    pub async fn send(&mut self, shot: &Shot, keep: usize) -> Result<Answer, ClientError> {
        let mut line = self.ready().await?;
        let answer = line.exchange(shot, keep).await?;
        self.line = (!line.closed).then_some(line);
        Ok(answer)
    }

    /// A connection that can take a request: the last one, unless the server has closed it since.
    async fn ready(&mut self) -> Result<Box<Line>, ClientError> {
        if let Some(mut line) = self.line.take()
            && line.is_ready().await
        {
            return Ok(line);
        }
        let refused = |source| ClientError::Connect { host: self.target.host.clone(), source };
        let stream = TcpStream::connect(&*self.target.addresses).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let io = TokioIo::new(Counted::new(stream, Arc::clone(&self.traffic)));
        let (sender, connection) = handshake(io).await?;
        let mut line = Box::new(Line { sender, connection, closed: false });
        line.is_ready().await;
        Ok(line)
    }
}

impl Line {
    async fn is_ready(&mut self) -> bool {
        let Self { sender, connection, closed } = self;
        // One look at the connection first: it sees whether the server has closed it.
        drive(connection, closed, ready(())).await;
        !*closed && drive(connection, closed, sender.ready()).await.is_ok()
    }

    async fn exchange(&mut self, shot: &Shot, keep: usize) -> Result<Answer, hyper::Error> {
        let Self { sender, connection, closed } = self;
        let mut request = Request::new(Whole(Some(shot.body.clone())));
        request.method_mut().clone_from(&shot.method);
        request.uri_mut().clone_from(&shot.uri);
        request.headers_mut().clone_from(&shot.headers);
        let response = drive(connection, closed, sender.send_request(request)).await?;
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: response.headers().get(RETRY_AFTER).and_then(wait),
            start: Vec::new(),
        };
        let mut body = response.into_body();
        while let Some(frame) = drive(connection, closed, next(&mut body)).await {
            let frame = frame?;
            let room = keep - answer.start.len();
            if let (Some(data), 1..) = (frame.data_ref(), room) {
                answer.start.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        Ok(answer)
    }
}

/// Of the two forms that RFC 9110 has, servers under load use the number of seconds.
fn wait(value: &HeaderValue) -> Option<Duration> {
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn next(body: &mut Incoming) -> impl Future<Output = Option<Result<Frame<Bytes>, hyper::Error>>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))
}

/// Waits for `future` while the connection moves. The connection comes first: what the future waits for
/// is often there then.
async fn drive<T>(
    connection: &mut Connection<TokioIo<Counted>, Whole>,
    closed: &mut bool,
    future: impl Future<Output = T>,
) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if !*closed {
            // Why it ended is said to whoever waits for an answer.
            *closed = Pin::new(&mut *connection).poll(cx).is_ready();
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// A body in one piece.
#[derive(Debug)]
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
