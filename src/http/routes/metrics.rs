//! What Prometheus scrapes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::http::App;

pub async fn scrape(State(app): State<Arc<App>>) -> impl IntoResponse {
    let (media_type, text) = app.metrics.render(&app.registry);
    ([(header::CONTENT_TYPE, media_type)], text)
}
