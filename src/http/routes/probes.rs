//! Probes: without a key, on both listeners, never behind inference, and true.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::http::App;

/// Whether the process makes progress. Restarting it would not mend a model, so models do not count.
pub async fn live(State(app): State<Arc<App>>, query: RawQuery) -> Response {
    let stalled = (!(app.live)()).then(|| "the workers make no progress".to_owned());
    probe(&stalled.map_or_else(Vec::new, |reason| vec![reason]), &query)
}

/// Whether traffic should come here.
pub async fn ready(State(app): State<Arc<App>>, query: RawQuery) -> Response {
    probe(&app.unready(), &query)
}

/// Whether every model has been tried.
pub async fn started(State(app): State<Arc<App>>, query: RawQuery) -> Response {
    let loading = (!app.registry.settled()).then(|| "models are loading".to_owned());
    probe(&loading.map_or_else(Vec::new, |reason| vec![reason]), &query)
}

/// 200 without reasons against it, else 503; `?verbose` shows the reasons.
fn probe(reasons: &[String], RawQuery(query): &RawQuery) -> Response {
    if reasons.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let verbose = query.as_deref().is_some_and(|query| {
        query.split('&').any(|pair| matches!(pair, "verbose" | "verbose=" | "verbose=true"))
    });
    let mut text = "no\n".to_owned();
    if verbose {
        text.extend(reasons.iter().map(|reason| format!("- {reason}\n")));
    }
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
