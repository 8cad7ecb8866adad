//! `multipart/form-data`: the field `file`, and beside it `model`, `parameters` or parameters by name.

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderValue, header};
use bytes::Bytes;

use crate::domain::{Kind, MediaLimits, ParamValue, Payload, Problem};
use crate::http::parse::media::{ItemMedia, item, utf8};
use crate::http::parse::{Collected, Said, json, once, params, step};

const PARTS_MAX: usize = 16;
/// Of every field but `file`, which the limit of the body bounds.
const FIELD_BYTES_MAX: usize = 1 << 20;

/// Reads a form. The body is whole and bounded already, so nothing here waits for a socket.
pub async fn read(
    content_type: &HeaderValue,
    body: Bytes,
    limits: &MediaLimits,
    params: &mut Collected,
) -> Result<Said, Problem> {
    let mut request = Request::new(Body::from(body));
    request.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| malformed())?;
    let mut said = Said::default();
    let mut parts = 0;
    while let Some(field) = form.next_field().await.map_err(|_| malformed())? {
        parts += 1;
        if parts > PARTS_MAX {
            return Err(too_large("/body", &format!("at most {PARTS_MAX} parts"), "more"));
        }
        match field.name().map(str::to_owned).as_deref() {
            // `data` is what TorchServe's clients call it.
            Some("file" | "data") => add_file(&mut said, field, limits).await?,
            Some(name) => add_field(&mut said, params, name, field).await?,
            None => return Err(malformed()),
        }
    }
    if said.payload.items.is_empty() {
        return Err(Problem::fault(
            Kind::InvalidInput,
            "/file",
            "a field called file",
            format!("{parts} other fields"),
            "with curl: -F file=@FILE",
        ));
    }
    Ok(said)
}

async fn add_file(said: &mut Said, field: Field<'_>, limits: &MediaLimits) -> Result<(), Problem> {
    if !said.payload.items.is_empty() {
        return Err(Problem::fault(
            Kind::InvalidInput,
            "/file",
            "one field called file",
            "two",
            "send one request a file, or a list in JSON",
        ));
    }
    let media = ItemMedia::of(field.content_type().unwrap_or_default(), "/file")?;
    let bytes = field.bytes().await.map_err(|_| malformed())?;
    if bytes.is_empty() {
        return Err(Problem::fault(Kind::InvalidInput, "/file", "bytes", "none", "send the file"));
    }
    said.payload = Payload::single(item(media, bytes, "/file", limits)?, "/file");
    Ok(())
}

async fn add_field(
    said: &mut Said,
    params: &mut Collected,
    name: &str,
    field: Field<'_>,
) -> Result<(), Problem> {
    let pointer = format!("/{}", step(name));
    let bytes = field.bytes().await.map_err(|_| malformed())?;
    if bytes.len() > FIELD_BYTES_MAX {
        let expected = format!("at most {FIELD_BYTES_MAX} bytes in this field");
        return Err(too_large(&pointer, &expected, &format!("{} bytes", bytes.len())));
    }
    match name {
        "model" => {
            let name = params::model_name(utf8(&bytes, &pointer)?, &pointer)?;
            said.model = once(said.model.take(), name)?;
            Ok(())
        }
        "parameters" => json::parameters(&bytes, params),
        _ => {
            let text = utf8(&bytes, &pointer)?.to_owned();
            params.add(name, ParamValue::Text(text), pointer)
        }
    }
}

fn malformed() -> Problem {
    Problem::fault(
        Kind::InvalidInput,
        "/body",
        "multipart/form-data as RFC 7578 has it, every part with a name and the last one ended",
        "something else, or a Content-Type without its boundary",
        "let the client write the form: curl -F file=@FILE",
    )
}

fn too_large(pointer: &str, expected: &str, got: &str) -> Problem {
    Problem::fault(Kind::TooLarge, pointer, expected, got, "send only what the model needs")
}
