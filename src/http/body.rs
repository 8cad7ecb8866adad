//! The body of a request, read into one buffer whose size is bounded before it grows.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::HttpSettings;
use crate::domain::{Kind, Problem};
use crate::http::App;
use crate::http::app::BUDGET_UNIT_BYTES;
use crate::http::coding::Coding;
use crate::http::error::Failure;

/// How long before the deadline a body must have come.
const BEFORE_DEADLINE: Duration = Duration::from_millis(5);

/// A body, and its share of the memory that all bodies may take together.
#[derive(Debug)]
pub struct Whole {
    pub bytes: Bytes,
    pub share: Share,
}

/// A part of the memory that all bodies may take together, until it is dropped.
#[derive(Debug)]
pub struct Share(OwnedSemaphorePermit);

/// Reads a whole body, and unpacks it.
///
/// # Errors
/// 413 over the limit, at once when the Content-Length says so; 408 when it takes longer than
/// allowed; 415 when it is packed in a way that is not read here, 422 when it does not unpack; 400 when
/// it breaks off; 503 when others fill the memory.
pub async fn collect(
    headers: &HeaderMap,
    body: Body,
    app: &App,
    deadline: Instant,
) -> Result<Whole, Failure> {
    let HttpSettings { body_bytes_max: most, body_timeout, .. } = app.limits;
    // A body that is still on its way when the deadline passes is the caller's fault, not ours: it ends
    // a moment before, with a 408.
    let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(BEFORE_DEADLINE);
    let limit = body_timeout.min(left);
    let coding = Coding::of(headers)?;
    let stated = content_length(headers);
    if stated.is_some_and(|length| length > most as u64) {
        return Err(too_large(most).into());
    }
    let stated = stated.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let whole = match timeout(limit, read(body, stated, most, app.bodies())).await {
        Ok(whole) => whole?,
        Err(_) => return Err(Failure::body_timeout(limit)),
    };
    match coding {
        Some(coding) if !whole.bytes.is_empty() => Ok(unpack(coding, whole, most, app).await?),
        _ => Ok(whole),
    }
}

/// A body that comes in one piece is taken as it is. Any other is copied together: into room for all
/// that was stated, which is within the limit and costs nothing until it is written to.
async fn read(
    mut body: Body,
    stated: usize,
    most: usize,
    budget: &Arc<Semaphore>,
) -> Result<Whole, Problem> {
    let mut share = Share::begin(budget)?;
    let mut first = Bytes::new();
    let mut bytes = BytesMut::new();
    // Not asked again when the last piece is known to be the last: that may need another wake-up.
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        // Trailers are of no interest.
        let Ok(chunk) = frame.map_err(|_| broken_off())?.into_data() else { continue };
        let read = first.len() + bytes.len();
        if chunk.len() > most - read {
            return Err(too_large(most));
        }
        share.cover(read + chunk.len(), budget)?;
        if read == 0 {
            first = chunk;
            continue;
        }
        if !first.is_empty() {
            bytes.reserve(stated.max(read + chunk.len()));
            bytes.extend_from_slice(&std::mem::take(&mut first));
        }
        bytes.extend_from_slice(&chunk);
    }
    let bytes = if first.is_empty() { bytes.freeze() } else { first };
    Ok(Whole { bytes, share })
}

/// Unpacks a body on another thread, within the same limits as one that came as it is.
async fn unpack(coding: Coding, packed: Whole, most: usize, app: &App) -> Result<Whole, Problem> {
    let budget = Arc::clone(app.bodies());
    let unpacking = move || {
        let Whole { bytes: packed, mut share } = packed;
        let length = packed.len();
        let bytes = coding.unpack(&packed, most, |size| share.cover(length + size, &budget))?;
        Ok(Whole { bytes: bytes.into(), share })
    };
    app.aside(unpacking).await?
}

impl Share {
    /// The smallest part.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when nothing is left.
    pub(crate) fn begin(budget: &Arc<Semaphore>) -> Result<Self, Problem> {
        take(budget).map(Self)
    }

    /// Takes more of the budget until it is enough for so many bytes.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when nothing is left.
    pub(crate) fn cover(&mut self, bytes: usize, budget: &Arc<Semaphore>) -> Result<(), Problem> {
        while bytes > self.0.num_permits() * BUDGET_UNIT_BYTES {
            self.0.merge(take(budget)?);
        }
        Ok(())
    }
}

/// One more unit of the budget. Whoever gets none is refused at once: waiting would hold what it has.
fn take(budget: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(budget).try_acquire_owned().map_err(|_| {
        Problem::new(Kind::Overloaded, "the bodies of other requests fill the memory set aside")
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(most: usize) -> Problem {
    Problem::fault(
        Kind::TooLarge,
        "/body",
        format!("at most {most} bytes"),
        "more",
        "send less, or ask who runs this server to raise the limit",
    )
}

fn broken_off() -> Problem {
    Problem::fault(Kind::InvalidInput, "/body", "a whole body", "a part of it", "send it again")
}
