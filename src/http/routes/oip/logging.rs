//! How much the log says.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};

use crate::http::App;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::parse::oip::body;
use crate::http::ticket::Ticket;
use crate::telemetry::Levels;

/// `GET /v2/logging`.
pub async fn show(State(app): State<Arc<App>>) -> Json<Levels> {
    Json(app.logging.levels())
}

/// `POST /v2/logging`: changes what it names.
pub async fn change(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    request: Request,
) -> Result<Json<Levels>, Failure> {
    let (head, body) = request.into_parts();
    let call = Call::begin(Arc::clone(&app), ticket, &head.headers)?;
    let (bytes, _share) = call.within(call.body(&head.headers, body)).await?;
    Ok(Json(app.logging.change(&body::settings(&bytes)?)?))
}
