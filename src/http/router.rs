//! The routes of one listener, wrapped in layers. A request meets them from the bottom up.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::App;
use crate::http::layers::{authorise, close, explain, panicked, record};
use crate::http::table::{Listener, TABLE};

/// The service of one listener.
pub fn router(app: Arc<App>, listener: Listener) -> Router {
    TABLE
        .iter()
        .filter(|row| row.need(listener).is_some())
        .fold(Router::new(), |routes, row| routes.route(row.path, (row.handler)()))
        // Nearest to the handlers: nothing runs for a caller who may not. Also the fallbacks: it
        // alone knows the table, so that what is not in it ends here.
        .layer(from_fn_with_state((Arc::clone(&app), listener), authorise))
        // A panic is a failure like any other, and the connection lives on.
        .layer(CatchPanicLayer::custom(panicked))
        // Every failure from further in gets its body here, also one of a panic.
        .layer(from_fn(explain))
        // Sees the final response, whoever made it.
        .layer(from_fn_with_state(Arc::clone(&app), close))
        // Outermost: every request has an id, is timed, logged and counted, once.
        .layer(from_fn_with_state(Arc::clone(&app), record))
        .with_state(app)
}
