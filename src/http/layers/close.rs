//! When a connection must not be used again.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::App;

/// Says `Connection: close` on HTTP/1 in two cases. A server on its way out sends its clients
/// elsewhere. And a chunked request may have brought a Content-Length too, which the HTTP library
/// drops before we can see it: RFC 9112 6.1 wants such a connection closed, so that what a proxy
/// took for the body is never answered as a second request.
pub async fn close(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let one = request.version() <= Version::HTTP_11;
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    if one && (chunked || app.leaving()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
