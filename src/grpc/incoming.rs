//! What a caller sends, within the time and the memory that HTTP's bodies have, too.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::domain::{Kind, Problem};
use crate::grpc::status::status;
use crate::http::{App, Share};

/// Before each message: whether it is packed, and its length.
const PREFIX_BYTES: usize = 5;

/// The messages of one call.
struct Incoming {
    app: Arc<App>,
    body: BodyDataStream,
    /// How long a message may be on its way.
    patience: Duration,
    /// When the one that is on its way must be there.
    due: Option<Instant>,
    progress: Progress,
    /// What the message that is on its way has of the memory of all bodies. Once it is whole, its call accounts for what
    /// it was unpacked to.
    held: Option<Share>,
    /// Whether there are more messages than one; else nothing is awaited behind the first.
    many: bool,
}

/// Gives a call's messages a time in which each must come whole, and takes memory for it as it comes.
///
/// `many` says that the method takes a stream; a single message is awaited from the call's beginning.
pub fn guarded(body: Body, app: Arc<App>, patience: Duration, many: bool) -> Body {
    let incoming = Incoming {
        app,
        body: body.into_data_stream(),
        patience,
        due: (!many).then(|| Instant::now() + patience),
        progress: Progress::default(),
        held: None,
        many,
    };
    let pieces = stream::unfold(Some(incoming), |incoming| async {
        let mut incoming = incoming?;
        match incoming.piece().await? {
            Ok(piece) => Some((Ok(piece), (!incoming.is_over()).then_some(incoming))),
            Err(problem) => Some((Err(status(&problem)), None)),
        }
    });
    Body::from_stream(pieces.map(|piece: Result<Bytes, Status>| piece))
}

impl Incoming {
    /// The next piece; `None` at the end.
    async fn piece(&mut self) -> Option<Result<Bytes, Problem>> {
        let next = self.body.next();
        let next = match self.due {
            Some(due) => match timeout_at(due, next).await {
                Ok(next) => next,
                Err(_) => return Some(Err(late(self.patience))),
            },
            None => next.await,
        };
        let Ok(piece) = next? else { return Some(Err(broken_off())) };
        if piece.is_empty() {
            return Some(Ok(piece));
        }
        self.progress.take(&piece);
        Some(self.account().map(|()| piece))
    }

    /// Sees to time and memory once a piece has come.
    fn account(&mut self) -> Result<(), Problem> {
        if !self.progress.is_partial() {
            self.due = None;
            self.held = None;
            return Ok(());
        }
        if self.due.is_none() {
            self.due = Some(Instant::now() + self.patience);
        }
        let held = match &mut self.held {
            Some(share) => share,
            none => none.insert(Share::begin(self.app.bodies())?),
        };
        held.cover(self.progress.came, self.app.bodies())
    }

    /// Whether all has come that the method takes.
    fn is_over(&self) -> bool {
        !self.many && self.progress.messages > 0 && !self.progress.is_partial()
    }
}

/// How far the newest message has come.
#[derive(Default)]
struct Progress {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that have come.
    begun: usize,
    /// Bytes of the message that have not come.
    left: usize,
    /// Bytes of it that have.
    came: usize,
    /// Messages that have come whole.
    messages: usize,
}

impl Progress {
    fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.left == 0 && self.begun < PREFIX_BYTES {
                if self.begun == 0 {
                    self.came = 0;
                }
                let count = piece.len().min(PREFIX_BYTES - self.begun);
                self.prefix[self.begun..][..count].copy_from_slice(&piece[..count]);
                self.begun += count;
                piece = &piece[count..];
                if self.begun == PREFIX_BYTES {
                    let [_, length @ ..] = self.prefix;
                    self.left = u32::from_be_bytes(length) as usize;
                }
            } else {
                let count = piece.len().min(self.left);
                self.left -= count;
                self.came += count;
                piece = &piece[count..];
            }
            if self.begun == PREFIX_BYTES && self.left == 0 {
                self.begun = 0;
                self.messages += 1;
            }
        }
    }

    /// Whether a part of a message has come.
    fn is_partial(&self) -> bool {
        self.begun > 0
    }
}

fn late(patience: Duration) -> Problem {
    let detail = format!("the message did not come whole within {} ms", patience.as_millis());
    Problem::new(Kind::DeadlineExceeded, detail)
}

fn broken_off() -> Problem {
    Problem::fault(
        Kind::InvalidInput,
        "/message",
        "a whole message",
        "a part of it",
        "send it again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let messages =
            [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 1, 9]].concat();
        let whole = [8, 13, 19];
        for size in 1..=messages.len() {
            let (mut progress, mut read) = (Progress::default(), 0);
            for piece in messages.chunks(size) {
                progress.take(piece);
                read += piece.len();
                assert_eq!(progress.is_partial(), !whole.contains(&read), "{read} by {size}");
            }
            assert_eq!(progress.messages, 3);
        }
    }
}
