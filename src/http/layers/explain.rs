//! Writes the body of every failure.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::domain::{Kind, Problem};
use crate::http::error::document;
use crate::http::example;
use crate::http::ticket::Ticket;

/// Turns the [`Problem`] that a response carries into `application/problem+json`.
pub async fn explain(request: Request, next: Next) -> Response {
    let ticket = request.extensions().get::<Arc<Ticket>>().cloned();
    let base = example::base(&request);
    let mut response = next.run(request).await;
    let (Some(problem), Some(ticket)) = (response.extensions().get::<Problem>(), ticket) else {
        return response;
    };
    let example = ticket
        .model()
        .filter(|_| example_helps(problem.kind))
        .map(|model| example::curl(&model.card, &base));
    let json = document(problem, response.status(), ticket.id.as_str(), example.as_deref());
    ticket.failed(problem.kind);
    *response.body_mut() = Body::from(json);
    let media_type = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

/// Whether the caller did not know how to ask.
fn example_helps(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::InvalidInput | Kind::UnsupportedMedia | Kind::Undecodable | Kind::Unsupported
    )
}
