//! Writes the body of every failure.

use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::domain::{Kind, Problem};
use crate::http::error::Shown;
use crate::http::example;
use crate::http::ticket::Ticket;

/// Where the caller found this server. Kept as it came: most requests never need it.
pub struct Asker {
    host: Option<HeaderValue>,
    authority: Option<Authority>,
}

impl Asker {
    pub fn of(request: &Request) -> Self {
        let host = request.headers().get(header::HOST).cloned();
        let authority = request.uri().authority().cloned();
        Self { host, authority }
    }

    fn base(&self) -> String {
        example::base(self.host.as_ref(), self.authority.as_ref())
    }
}

/// Turns the [`Problem`] that a response carries into the body that the route's clients read.
pub fn explain(mut response: Response, ticket: &Ticket, asker: &Asker) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    let example = ticket
        .model()
        .filter(|_| example_helps(problem.kind))
        .map(|model| example::curl(&model.card, &asker.base()));
    let (status, request) = (response.status(), ticket.id.as_str());
    let shown = Shown { status, request, example: example.as_deref() };
    let json = ticket.face.document(problem, &shown);
    ticket.failed(problem.kind);
    *response.body_mut() = Body::from(json);
    response.headers_mut().insert(header::CONTENT_TYPE, ticket.face.media_type());
    response
}

/// Whether the caller did not know how to ask.
fn example_helps(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::InvalidInput | Kind::UnsupportedMedia | Kind::Undecodable | Kind::Unsupported
    )
}
