//! The server as a whole: is it alive, is it ready, what does it offer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::App;
use crate::http::error::Failure;
use crate::oip::EXTENSIONS;

/// `GET /v2/health/live`.
pub async fn live(State(app): State<Arc<App>>) -> Response {
    let live = (app.live)();
    (probe(live), Json(json!({ "live": live }))).into_response()
}

/// `GET /v2/health/ready`.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let ready = app.unready().is_empty();
    (probe(ready), Json(json!({ "ready": ready, "live": (app.live)() }))).into_response()
}

fn probe(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// `GET /v2`.
pub async fn metadata() -> Json<Value> {
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": EXTENSIONS,
    }))
}

/// Shared memory and traces: Triton has them, this server does not.
pub async fn absent() -> Failure {
    Failure::not_implemented("shared memory and traces are not offered; /v2 lists what is")
}
