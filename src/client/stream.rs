//! An answer that comes piece by piece, as server-sent events.

use bytes::{Buf, BytesMut};
use reqwest::Response;
use serde::Deserialize;

use crate::client::answer::{Prediction, prediction};
use crate::client::{ClientError, Refusal};

/// A part of a streamed answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Text {
        /// Which of the answer's texts goes on, where there are several.
        index: usize,
        text: String,
    },
    /// The end: the whole answer.
    Whole(Prediction),
}

/// The pieces of one answer.
#[derive(Debug)]
pub struct Pieces {
    response: Response,
    unread: BytesMut,
    over: bool,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    index: usize,
    text: String,
}

impl Pieces {
    pub(super) fn new(response: Response) -> Self {
        Self { response, unread: BytesMut::new(), over: false }
    }

    /// The next piece; `None` after the whole answer.
    ///
    /// # Errors
    /// [`ClientError`] when the stream breaks off, or ends in a problem.
    pub async fn next(&mut self) -> Result<Option<Piece>, ClientError> {
        if self.over {
            return Ok(None);
        }
        loop {
            if let Some(data) = event(&mut self.unread) {
                return self.piece(&data).map(Some);
            }
            match self.response.chunk().await? {
                Some(chunk) => self.unread.extend_from_slice(&chunk),
                None => return Err(ClientError::Foreign),
            }
        }
    }

    fn piece(&mut self, data: &[u8]) -> Result<Piece, ClientError> {
        if let Ok(refusal) = serde_json::from_slice::<Refusal>(data) {
            self.over = true;
            return Err(refusal.into());
        }
        if let Ok(whole) = prediction(data) {
            self.over = true;
            return Ok(Piece::Whole(whole));
        }
        let Part { index, text } =
            serde_json::from_slice(data).map_err(|_| ClientError::Foreign)?;
        Ok(Piece::Text { index, text })
    }
}

/// Takes the data of the first event out of what has come; comments keep the connection open, and are passed
/// over.
fn event(unread: &mut BytesMut) -> Option<Vec<u8>> {
    loop {
        let end = unread.windows(2).position(|pair| pair == b"\n\n")?;
        let event = unread.split_to(end);
        unread.advance(2);
        let data =
            event[..].split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"data: "));
        if let Some(data) = data {
            return Some(data.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_out_whole_and_comments_passed_over() {
        let mut unread = BytesMut::from(&b": alive\n\ndata: {\"text\": \"a\"}\n\ndata: {\"te"[..]);
        assert_eq!(event(&mut unread).unwrap(), b"{\"text\": \"a\"}");
        assert_eq!(event(&mut unread), None);
        unread.extend_from_slice(b"xt\": \"b\"}\n\n");
        assert_eq!(event(&mut unread).unwrap(), b"{\"text\": \"b\"}");
    }
}
