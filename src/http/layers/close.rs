//! When a connection must not be used again.

use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;

use crate::http::App;

/// When HTTP/1 is told `Connection: close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closes {
    /// HTTP/2 has its own way.
    Never,
    /// A server on its way out sends its clients elsewhere.
    Leaving,
    /// A chunked request may have brought a Content-Length too, which the HTTP library drops before
    /// we can see it: RFC 9112 6.1 wants such a connection closed, so that what a proxy took for the
    /// body is never answered as a second request.
    Always,
}

/// Whether the connection of this request must end with its answer.
pub fn must_close(request: &Request) -> Closes {
    if request.version() > Version::HTTP_11 {
        Closes::Never
    } else if request.headers().contains_key(header::TRANSFER_ENCODING) {
        Closes::Always
    } else {
        Closes::Leaving
    }
}

/// Says so.
pub fn say_close(mut response: Response, closes: Closes, app: &App) -> Response {
    if closes == Closes::Always || closes == Closes::Leaving && app.leaving() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
