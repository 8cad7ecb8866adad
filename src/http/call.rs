//! One prediction over HTTP, whatever the protocol: its deadline, its body, its model, and the way to the
//! engine. A protocol adds what it reads of the body, and how it writes the answer.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;

use crate::domain::{Kind, ModelName, Params, Payload, Problem, Version};
use crate::engine::{Reply, Request};
use crate::http::App;
use crate::http::body::{self, Share, Whole};
use crate::http::error::Failure;
use crate::http::parse::{Schedule, schedule};
use crate::http::stream::{self, stopping, too_late};
use crate::http::ticket::Ticket;
use crate::registry::Model;

/// Documents above this are read on another thread: half a millisecond's work, which is what a
/// connection may have to wait for its neighbours.
pub const INLINE_BYTES_MAX: usize = 256 << 10;

/// A prediction that was begun.
#[derive(Clone)]
pub struct Call {
    pub app: Arc<App>,
    pub ticket: Arc<Ticket>,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl Call {
    /// # Errors
    /// [`Kind::InvalidInput`] when the header `X-Deadline-Ms` is not usable.
    pub fn begin(app: Arc<App>, ticket: Arc<Ticket>, headers: &HeaderMap) -> Result<Self, Problem> {
        let wait = deadline(headers)?.unwrap_or(app.limits.deadline_default);
        let deadline = ticket.started.into_std() + wait.min(app.limits.deadline_max);
        Ok(Self { app, ticket, deadline })
    }

    /// Does the work, unless the deadline passes or the server stops first. A caller who goes away drops
    /// all of it, and with it the rows that wait.
    ///
    /// # Errors
    /// Those of the work, 504 when the deadline passes, 503 when the server stops.
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => done,
            () = tokio::time::sleep_until(self.deadline.into()) => Err(too_late().into()),
            () = self.app.cut() => Err(stopping().into()),
        }
    }

    /// Reads the body whole. The share of memory is to be kept as long as what was read.
    ///
    /// # Errors
    /// As [`body::collect`].
    pub async fn body(&self, headers: &HeaderMap, body: Body) -> Result<(Bytes, Share), Failure> {
        let Whole { bytes, share } = body::collect(headers, body, &self.app, self.deadline).await?;
        Ok((bytes, share))
    }

    /// Reads a document of `bytes` bytes: a small one here, a large one where it holds up nobody.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read<T: Send + 'static>(
        &self,
        bytes: usize,
        read: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if bytes <= INLINE_BYTES_MAX { read() } else { self.app.aside(read).await? }
    }

    /// The model of that name, which answers from now on.
    ///
    /// # Errors
    /// 404 when there is none, 503 when it is not ready.
    pub fn model(&self, name: &ModelName, version: Option<Version>) -> Result<Arc<Model>, Problem> {
        let model = self.app.registry.get(name, version)?;
        self.ticket.set_model(&model);
        Ok(model)
    }

    /// Asks the engine. Parameters of the schedule are taken out of `params`, and may bring the deadline
    /// nearer.
    ///
    /// # Errors
    /// As [`Endpoint::predict`](crate::engine::Endpoint::predict).
    pub async fn predict(
        &mut self,
        model: &Model,
        payload: Payload,
        mut params: Params,
    ) -> Result<Reply, Problem> {
        let Schedule { priority, timeout } = schedule(&mut params)?;
        if let Some(wait) = timeout {
            self.deadline = self.deadline.min(self.ticket.started.into_std() + wait);
        }
        let request = Request { payload, params, deadline: self.deadline, priority };
        let reply = model.endpoint.predict(request).await?;
        if let Reply::Whole(answer) = &reply {
            self.ticket.set_timings(answer.timings);
        }
        Ok(reply)
    }

    /// What a stream of this model needs to its end.
    pub fn into_stream(self, model: Arc<Model>) -> stream::Context {
        let Self { app, ticket, deadline } = self;
        stream::Context { app, ticket, model, deadline }
    }
}

/// Refuses a query where the body has every parameter.
///
/// # Errors
/// [`Kind::InvalidInput`] when there is one.
pub fn no_query(uri: &Uri) -> Result<(), Problem> {
    if uri.query().is_none_or(str::is_empty) {
        return Ok(());
    }
    let hint = "send parameters in the body";
    Err(Problem::fault(Kind::InvalidInput, "/query", "no query", "one", hint))
}

/// How long the caller waits, from the request's arrival.
fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let Some(value) = headers.get("x-deadline-ms") else { return Ok(None) };
    let milliseconds = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    let milliseconds = milliseconds.filter(|&milliseconds| milliseconds > 0);
    milliseconds.map(Duration::from_millis).map(Some).ok_or_else(|| {
        Problem::fault(
            Kind::InvalidInput,
            "/headers/x-deadline-ms",
            "a positive whole number of milliseconds",
            "something else",
            "leave it out to get the server's default",
        )
    })
}
