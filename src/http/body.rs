//! The body of a request, read into one buffer whose size is bounded before it grows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::HttpSettings;
use crate::domain::{Kind, Problem};
use crate::http::App;
use crate::http::app::BUDGET_UNIT_BYTES;
use crate::http::error::Failure;

/// How long before the deadline a body must have come.
const BEFORE_DEADLINE: Duration = Duration::from_millis(5);

/// What is reserved on the word of a Content-Length alone.
const RESERVE_BYTES_MAX: usize = 64 << 10;

/// A body, and its share of the memory that all bodies may take together.
#[derive(Debug)]
pub struct Whole {
    pub bytes: Bytes,
    pub share: OwnedSemaphorePermit,
}

/// Reads a whole body.
///
/// # Errors
/// 413 over the limit, at once when the Content-Length says so; 408 when it takes longer than
/// allowed; 415 when it is compressed; 400 when it breaks off; 503 when others fill the memory.
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
    refuse_compressed(headers)?;
    let stated = content_length(headers);
    if stated.is_some_and(|length| length > most as u64) {
        return Err(too_large(most).into());
    }
    match timeout(limit, read(body, stated, most, app.bodies())).await {
        Ok(bytes) => Ok(bytes?),
        Err(_) => Err(Failure::body_timeout(limit)),
    }
}

async fn read(
    body: Body,
    stated: Option<u64>,
    most: usize,
    budget: &Arc<Semaphore>,
) -> Result<Whole, Problem> {
    let mut share = take(budget)?;
    let stated = stated.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut bytes = BytesMut::with_capacity(stated.min(RESERVE_BYTES_MAX));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| broken_off())?;
        if chunk.len() > most - bytes.len() {
            return Err(too_large(most));
        }
        while bytes.len() + chunk.len() > share.num_permits() * BUDGET_UNIT_BYTES {
            share.merge(take(budget)?);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Whole { bytes: bytes.freeze(), share })
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

fn refuse_compressed(headers: &HeaderMap) -> Result<(), Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(Problem::fault(
        Kind::UnsupportedMedia,
        "/headers/content-encoding",
        "no Content-Encoding",
        "a compressed body",
        "send the body as it is; pictures and sound are compressed already",
    ))
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
