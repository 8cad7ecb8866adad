//! Compression of answers.

use axum::body::{HttpBody, to_bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::domain::{Kind, Problem};
use crate::http::App;
use crate::http::coding::Coding;
use crate::http::error::Failure;
use crate::http::stream::Streamed;

/// A packet or so: packing less saves nobody anything.
const BYTES_MIN: u64 = 1 << 10;
/// Above this another thread packs: a large answer would hold up its neighbours.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// What a caller said about packed answers.
#[derive(Debug, Clone, Copy)]
pub struct Packing(Option<Coding>);

impl Packing {
    pub fn wanted(headers: &HeaderMap) -> Self {
        Self(Coding::asked(headers))
    }

    /// Packs an answer that is whole and worth it. A stream goes out as it is, piece by piece.
    pub async fn pack(self, mut response: Response, app: &App) -> Response {
        let size = response.body().size_hint().exact().filter(|&size| size >= BYTES_MIN);
        if size.is_none() || response.extensions().get::<Streamed>().is_some() {
            return response;
        }
        // Caches must not give the packed form to callers who did not ask for it.
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(header::VARY, vary);
        let Self(Some(coding)) = self else { return response };
        let (mut head, body) = response.into_parts();
        // The size is exact: this waits for nothing, and takes what is there already.
        let Ok(plain) = to_bytes(body, usize::MAX).await else { return failed() };
        let packed = if plain.len() <= INLINE_BYTES_MAX {
            Ok(coding.pack(&plain))
        } else {
            app.aside(move || coding.pack(&plain)).await
        };
        let Ok(Ok(packed)) = packed else { return failed() };
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::CONTENT_ENCODING, coding.header());
        Response::from_parts(head, packed.into())
    }
}

fn failed() -> Response {
    Failure::from(Problem::new(Kind::Internal, "packing the answer failed")).into_response()
}
