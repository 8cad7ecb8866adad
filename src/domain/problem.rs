//! The one vocabulary of failure. Each protocol maps a [`Kind`] to its own status, in one place.

use std::time::Duration;

use serde::Serialize;

/// What went wrong, in the words that every protocol can map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Malformed JSON, a wrong shape or type, a parameter out of its range.
    InvalidInput,
    /// The media type is not one this model reads.
    UnsupportedMedia,
    /// The media type is right, but the bytes do not decode.
    Undecodable,
    /// Well formed, understood, and not offered.
    Unsupported,
    NotFound,
    Conflict,
    Unauthenticated,
    Forbidden,
    /// Over a limit on bytes, pixels, seconds or items.
    TooLarge,
    /// This caller is over its own limit.
    RateLimited,
    /// The server as a whole is full.
    Overloaded,
    /// The model is being loaded: try again in a moment.
    Loading,
    /// Draining, resting, unloaded or refused at load: try again later, or elsewhere.
    Unavailable,
    DeadlineExceeded,
    StorageFull,
    /// A fault of ours: a network that panicked or answered NaN.
    Internal,
}

/// One thing to mend in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A JSON pointer into the body, `/query/<name>` for a query parameter, `/body` for a raw body.
    pub pointer: String,
    pub expected: String,
    pub got: String,
    pub hint: String,
}

/// A failure as its reader should see it. Texts are ours, never a dependency's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    pub faults: Vec<Fault>,
    /// When trying again may succeed.
    pub retry_after: Option<Duration>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), faults: Vec::new(), retry_after: None }
    }

    /// A problem that is exactly one fault: the detail is made from it.
    pub fn fault(
        kind: Kind,
        pointer: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let fault = Fault {
            pointer: pointer.into(),
            expected: expected.into(),
            got: got.into(),
            hint: hint.into(),
        };
        // The empty pointer is the whole document.
        let place = if fault.pointer.is_empty() { "the body" } else { &fault.pointer };
        let detail = format!("{place}: expected {}, got {}", fault.expected, fault.got);
        Self { kind, detail, faults: vec![fault], retry_after: None }
    }

    /// All of it in one text: the detail, and how to mend the first fault. Of a bounded length.
    #[must_use]
    pub fn sentence(&self) -> String {
        let detail = cut(&self.detail);
        match self.faults.first() {
            Some(fault) if !fault.hint.is_empty() => format!("{detail}; {}", cut(&fault.hint)),
            _ => detail,
        }
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

const TEXT_CHARS_MAX: usize = 400;

/// A text, or its beginning: names and values of a caller's may be long.
#[must_use]
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
