//! The routes of one listener, and what every request goes through on its way to them and back.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::domain::{Kind, Problem};
use crate::http::App;
use crate::http::error::Failure;
use crate::http::layers::{Asker, Packing, explain, must_close, refusal, say_close};
use crate::http::table::{Listener, TABLE};
use crate::http::ticket::Ticket;

/// The service of one listener.
pub fn router(app: Arc<App>, listener: Listener) -> Router {
    TABLE
        .iter()
        .filter(|row| row.need(listener).is_some() && row.is_on(app.compat))
        .fold(Router::new(), |routes, row| routes.route(row.path, (row.handler)()))
        // Also the fallbacks: what is not in the table ends in `refusal`.
        .layer(from_fn_with_state((Arc::clone(&app), listener), pass))
        .with_state(app)
}

/// The layers, in order; each line is one. They are one function, not a tower of services, because a
/// service is cloned and its future boxed for every request, which costs more than all that is done here.
async fn pass(
    State((app, listener)): State<(Arc<App>, Listener)>,
    mut request: Request,
    next: Next,
) -> Response {
    // Outermost: every request has an id, is timed, logged and counted, once.
    let ticket = Ticket::issue(&app, &mut request);
    // What later lines must know of the request, which the handler takes.
    let (closes, packing, asker) =
        (must_close(&request), Packing::wanted(request.headers()), Asker::of(&request));
    let response = match refusal(&app, listener, &request) {
        // Nothing runs for a caller who may not.
        Some(failure) => failure.into_response(),
        // Nearest to the handlers. A panic is a failure like any other, and the connection lives on.
        None => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(panicked),
    };
    // Only when asked, and only what is whole and large: failures are small.
    let response = packing.pack(response, &app).await;
    // Every failure from further in gets its body here, also one of a panic.
    let response = explain(response, &ticket, &asker);
    // Sees the final response, whoever made it.
    let response = say_close(response, closes, &app);
    ticket.stamp(response)
}

/// The panic's own text went to the log with its place; a caller learns only that it happened.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Failure::from(Problem::new(Kind::Internal, "a fault of this server stopped the request"))
        .into_response()
}
