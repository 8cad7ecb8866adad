//! What happens on one connection, and until when something must.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::HttpSettings;

/// How HTTP/2 begins; no HTTP/1 method does.
const HTTP2_START: &[u8] = b"PRI ";

/// How long a connection may do nothing, by what it should be doing.
#[derive(Debug, Clone, Copy)]
struct Patience {
    header: Duration,
    idle: Duration,
    /// While a request is in flight: longer than any request may take.
    busy: Duration,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Whether a request has come yet.
    fresh: bool,
    http2: bool,
    /// Since when the head of a request is due: its first byte, or the connection's start.
    head: Option<Instant>,
    /// Whether a part of that head has come.
    partial: bool,
    /// When something last happened.
    last: Instant,
}

/// Shared by a connection's socket, its requests and the task that watches over it.
#[derive(Debug, Clone)]
pub struct Activity {
    state: Arc<Mutex<State>>,
    patience: Patience,
}

/// A request in flight, from its head to the last byte of its answer.
#[derive(Debug)]
pub struct InFlight(Activity);

impl InFlight {
    /// Of the connection that it came by.
    pub fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Activity {
    pub fn new(limits: &HttpSettings) -> Self {
        let now = Instant::now();
        let state = State {
            in_flight: 0,
            fresh: true,
            http2: false,
            head: Some(now),
            partial: false,
            last: now,
        };
        let patience = Patience {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            busy: limits.body_timeout + limits.deadline_max + limits.idle_timeout,
        };
        Self { state: Arc::new(Mutex::new(state)), patience }
    }

    /// Bytes came in.
    pub fn read(&self, bytes: &[u8]) {
        self.moved(|state, now| {
            if state.fresh && bytes.starts_with(HTTP2_START) {
                state.http2 = true;
                state.head = None;
            } else if state.in_flight == 0 && !state.http2 {
                state.head = state.head.or(Some(now));
                state.partial = true;
            }
        });
    }

    /// A part of an answer goes out.
    pub fn wrote(&self) {
        self.moved(|_, _| ());
    }

    /// A part of a request's body came, or a part of an answer went on its way: on HTTP/2, too, a sign of work.
    pub fn worked(&self) {
        self.change(|_, _| ());
    }

    /// A request's head is whole.
    pub fn begin(&self) -> InFlight {
        self.change(|state, _| {
            state.in_flight += 1;
            state.fresh = false;
            state.head = None;
            state.partial = false;
        });
        InFlight(self.clone())
    }

    /// Whether no request has come yet.
    pub fn is_fresh(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).fresh
    }

    /// Whether somebody waits for an answer to a request whose head is not whole.
    pub fn has_partial_head(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).partial
    }

    /// When the connection is to be ended unless something happens before.
    pub fn deadline(&self) -> Instant {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.head {
            _ if state.in_flight > 0 => state.last + self.patience.busy,
            Some(head) => head + self.patience.header,
            None => state.last + self.patience.idle,
        }
    }

    /// Bytes moved. On HTTP/2 that is no sign of work: pings and their answers move, too.
    fn moved(&self, change: impl FnOnce(&mut State, Instant)) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state, now);
        if !state.http2 {
            state.last = now;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State, Instant)) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state, now);
        state.last = now;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.change(|state, _| state.in_flight -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::http::testing::limits;

    #[tokio::test(start_paused = true)]
    async fn patience_depends_on_what_is_due() {
        let limits = limits();
        let activity = Activity::new(&limits);
        let start = Instant::now();
        assert_eq!(activity.deadline(), start + limits.header_timeout);
        advance(Duration::from_secs(1)).await;
        activity.read(b"POST / HT");
        assert_eq!(activity.deadline(), start + limits.header_timeout, "a trickle wins nothing");
        let request = activity.begin();
        assert!(activity.deadline() > Instant::now() + limits.deadline_max);
        advance(Duration::from_secs(1)).await;
        drop(request);
        assert_eq!(activity.deadline(), Instant::now() + limits.idle_timeout);
        advance(Duration::from_secs(1)).await;
        activity.read(b"G");
        assert_eq!(activity.deadline(), Instant::now() + limits.header_timeout);
        assert!(activity.has_partial_head());
    }

    #[tokio::test(start_paused = true)]
    async fn http2_has_no_head_to_wait_for() {
        let limits = limits();
        let activity = Activity::new(&limits);
        let start = Instant::now();
        activity.read(b"PRI * HTTP/2.0\r\n");
        assert_eq!(activity.deadline(), start + limits.idle_timeout);
        advance(Duration::from_secs(1)).await;
        activity.read(b"ping");
        assert_eq!(activity.deadline(), start + limits.idle_timeout, "a ping is no request");
        let stream = activity.begin();
        let busy = activity.deadline() - Instant::now();
        advance(Duration::from_secs(100)).await;
        activity.read(b"ping");
        assert_eq!(activity.deadline(), Instant::now() + busy - Duration::from_secs(100));
        stream.activity().worked();
        assert_eq!(activity.deadline(), Instant::now() + busy, "a stream on which something moves");
        drop(stream);
        assert_eq!(activity.deadline(), Instant::now() + limits.idle_timeout);
    }
}
