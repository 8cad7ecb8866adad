//! Every request has an id, is timed, logged and counted, once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;

use crate::http::App;
use crate::http::stream::Streamed;
use crate::http::ticket::Ticket;

/// Gives the request its [`Ticket`] and the response its id. What is still to be streamed keeps the
/// ticket open.
pub async fn record(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let ticket = Arc::new(Ticket::open(app, &request));
    request.extensions_mut().insert(Arc::clone(&ticket));
    let mut response = next.run(request).await;
    ticket.set_status(response.status());
    if response.extensions().get::<Streamed>().is_none() {
        // Does nothing when a failure was noted before.
        ticket.succeeded();
    }
    if let Ok(id) = HeaderValue::from_str(ticket.id.as_str()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}
