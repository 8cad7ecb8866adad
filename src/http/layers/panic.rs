//! What a panic in a handler becomes.

use std::any::Any;

use axum::response::{IntoResponse, Response};

use crate::domain::{Kind, Problem};
use crate::http::error::Failure;

/// The panic's own text went to the log with its place; a caller learns only that it happened.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    Failure::from(Problem::new(Kind::Internal, "a fault of this server stopped the request"))
        .into_response()
}
