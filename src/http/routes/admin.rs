//! Administration, on its own listener, always with a key.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::http::App;

/// Makes the server unready while it goes on serving, for work on it or on what is in front.
pub async fn drain(State(app): State<Arc<App>>) -> Json<Value> {
    app.hold(true);
    tracing::info!("unready by an admin's request");
    Json(json!({ "draining": true }))
}

/// Undoes [`drain`]. A server that is stopping stays unready.
pub async fn undrain(State(app): State<Arc<App>>) -> Json<Value> {
    app.hold(false);
    tracing::info!("ready again by an admin's request");
    Json(json!({ "draining": app.leaving() }))
}
