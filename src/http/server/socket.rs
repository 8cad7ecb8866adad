//! A socket that tells of its traffic, and comes back when HTTP is done with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http::server::activity::Activity;

const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 << 20;

/// A socket on loan: whoever drops it, the lender gets it back.
pub struct Lent {
    socket: Option<TcpStream>,
    back: Option<oneshot::Sender<TcpStream>>,
    activity: Activity,
}

/// Lends a socket. The receiver yields it when the loan is dropped.
pub fn lend(socket: TcpStream, activity: Activity) -> (Lent, oneshot::Receiver<TcpStream>) {
    let (back, returned) = oneshot::channel();
    (Lent { socket: Some(socket), back: Some(back), activity }, returned)
}

/// Closes a connection so that the other side can read what was written last. Closing with unread
/// bytes resets the connection, and the refusal of a large body would be lost with it: so say that
/// nothing more comes, then read for a moment.
pub async fn close(mut socket: TcpStream, last: &[u8]) {
    if socket.write_all(last).await.is_err() || socket.shutdown().await.is_err() {
        return;
    }
    let _ = timeout(LINGER, discard(socket)).await;
}

async fn discard(mut socket: TcpStream) {
    let mut buffer = vec![0; 16 << 10];
    let mut total = 0;
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        total += count;
        if total > LINGER_BYTES_MAX {
            return;
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(socket), Some(back)) = (self.socket.take(), self.back.take()) {
            // The lender may be gone; the socket is then closed by being dropped.
            let _ = back.send(socket);
        }
    }
}

impl Lent {
    /// The socket, which is there until the loan is dropped.
    fn socket(&mut self) -> Result<Pin<&mut TcpStream>, io::Error> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.socket()?.poll_read(cx, buffer);
        let fresh = &buffer.filled()[before..];
        if !fresh.is_empty() {
            self.activity.read(fresh);
        }
        read
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.socket()?.poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.activity.wrote();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.socket()?.poll_write_vectored(cx, slices);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.activity.wrote();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
