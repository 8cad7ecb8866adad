//! What is known of one request. Handlers add to it; whoever drops it last writes the log line and
//! the metrics. For an answer that is the outermost layer, for a stream it is the stream itself, and
//! when the client goes away it is whatever was dropped: nothing is counted twice or missed.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use tokio::time::Instant;
use uuid::Uuid;

use crate::access::Need;
use crate::domain::{Kind, RequestId, Timings};
use crate::http::App;
use crate::http::face::Face;
use crate::http::stream::Streamed;
use crate::http::table::{self, Row};
use crate::registry::Model;
use crate::telemetry::{Finished, Outcome};

pub struct Ticket {
    pub id: RequestId,
    pub started: Instant,
    /// How its failures look.
    pub face: Face,
    app: Arc<App>,
    method: Method,
    /// The matched path, never the raw one: a path may hold what nobody should log.
    route: Option<MatchedPath>,
    row: Option<&'static Row>,
    model: OnceLock<Arc<Model>>,
    timings: OnceLock<Timings>,
    status: OnceLock<StatusCode>,
    /// How it ended. A stream has its status long before it ends.
    outcome: OnceLock<Outcome>,
}

impl Ticket {
    /// Gives a request that was just routed its ticket.
    pub fn issue(app: &Arc<App>, request: &mut Request) -> Arc<Self> {
        let ticket = Arc::new(Self::open(Arc::clone(app), request));
        request.extensions_mut().insert(Arc::clone(&ticket));
        ticket
    }

    fn open(app: Arc<App>, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let row = route.as_ref().and_then(|path| table::find(request.method(), path.as_str()));
        if row.is_some_and(Row::predicts) {
            app.metrics.started();
        }
        Self {
            id: request_id(request.headers()),
            started: Instant::now(),
            face: route
                .as_ref()
                .and_then(|path| table::face(path.as_str()))
                .unwrap_or_else(|| Face::of_path(request.uri().path())),
            app,
            method: request.method().clone(),
            route,
            row,
            model: OnceLock::new(),
            timings: OnceLock::new(),
            status: OnceLock::new(),
            outcome: OnceLock::new(),
        }
    }

    /// The model that answers, or was to answer.
    pub fn set_model(&self, model: &Arc<Model>) {
        let _ = self.model.set(Arc::clone(model));
    }

    pub fn model(&self) -> Option<&Arc<Model>> {
        self.model.get()
    }

    pub fn set_timings(&self, timings: Timings) {
        let _ = self.timings.set(timings);
    }

    fn set_status(&self, status: StatusCode) {
        let _ = self.status.set(status);
    }

    /// The answer is whole.
    pub fn succeeded(&self) {
        let _ = self.outcome.set(Outcome::ok);
    }

    pub fn failed(&self, kind: Kind) {
        let _ = self.outcome.set(kind.into());
    }

    /// Notes the final response, and gives it the request's id. What is still to be streamed keeps the
    /// ticket open.
    pub fn stamp(&self, mut response: Response) -> Response {
        self.set_status(response.status());
        if response.extensions().get::<Streamed>().is_none() {
            // Does nothing when a failure was noted before.
            self.succeeded();
        }
        if let Ok(id) = HeaderValue::from_str(self.id.as_str()) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }

    fn log(&self, outcome: Outcome) {
        let model = self.model().map(|model| &model.card);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "maas::request",
                    method = %self.method,
                    route = self.route.as_ref().map_or("-", MatchedPath::as_str),
                    // 499: the client went away before there was a status.
                    status = self.status.get().map_or(499, StatusCode::as_u16),
                    outcome = outcome.name(),
                    duration_ms = self.started.elapsed().as_secs_f64() * 1e3,
                    request_id = self.id.as_str(),
                    model = model.map(|card| card.name.as_str()),
                    version = model.map(|card| card.version.get()),
                )
            };
        }
        let probe = self.row.is_some_and(|row| row.main == Some(Need::Nothing));
        // Probes come every other second, for ever.
        if probe { line!(debug) } else { line!(info) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let outcome = *self.outcome.get().unwrap_or(&Outcome::cancelled);
        self.log(outcome);
        if self.row.is_some_and(Row::predicts) {
            self.app.metrics.finished(&Finished {
                model: self.model().map(Arc::as_ref),
                outcome,
                duration: self.started.elapsed(),
                timings: self.timings.get().copied(),
            });
        }
    }
}

/// The caller's id when it is a usable one, else a new one whose order is that of time.
fn request_id(headers: &HeaderMap) -> RequestId {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(new_id)
}

fn new_id() -> RequestId {
    RequestId::from_uuid(Uuid::now_v7().as_u128())
}
