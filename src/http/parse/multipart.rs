//! `multipart/form-data`: the field `file`, and beside it `model`, `parameters` or parameters by name.

use axum::body::Body;
use axum::extract::multipart::Multipart;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderValue, header};
use bytes::Bytes;

use crate::domain::{Kind, MediaLimits, ParamValue, Payload, Problem};
use crate::http::parse::media::{ItemMedia, item, utf8};
use crate::http::parse::{Collected, Said, json, once, params, step};

const PARTS_MAX: usize = 16;
/// Of every field but `file`, which the limit of the body bounds.
const FIELD_BYTES_MAX: usize = 1 << 20;

/// The field that holds the item.
const FILE: &str = "file";

/// One field of a form.
#[derive(Debug)]
pub struct Part {
    pub name: String,
    content_type: Option<String>,
    bytes: Bytes,
}

/// The fields of a form, in order. The body is whole and bounded already, so nothing here waits for a socket.
///
/// # Errors
/// [`Kind::InvalidInput`] when this is no form, [`Kind::TooLarge`] when it has too many fields or one is too large.
pub async fn parts(content_type: &HeaderValue, body: Bytes) -> Result<Vec<Part>, Problem> {
    let mut request = Request::new(Body::from(body));
    request.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| malformed())?;
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|_| malformed())? {
        if parts.len() == PARTS_MAX {
            return Err(too_large("/body", &format!("at most {PARTS_MAX} parts"), "more"));
        }
        let name = field.name().map(str::to_owned).ok_or_else(malformed)?;
        let content_type = field.content_type().map(str::to_owned);
        let bytes = field.bytes().await.map_err(|_| malformed())?;
        let part = Part { name, content_type, bytes };
        if !part.is_file() && part.bytes.len() > FIELD_BYTES_MAX {
            let expected = format!("at most {FIELD_BYTES_MAX} bytes in this field");
            let got = format!("{} bytes", part.bytes.len());
            return Err(too_large(&part.pointer(), &expected, &got));
        }
        parts.push(part);
    }
    Ok(parts)
}

impl Part {
    pub fn is_file(&self) -> bool {
        // The other one is what TorchServe's clients call it.
        self.name == FILE || self.name == "data"
    }

    /// Where it stands, as an error names it.
    pub fn pointer(&self) -> String {
        format!("/{}", step(&self.name))
    }

    /// Its bytes as text.
    ///
    /// # Errors
    /// [`Kind::Undecodable`] when they are not UTF-8.
    pub fn text(&self) -> Result<&str, Problem> {
        utf8(&self.bytes, &self.pointer())
    }

    /// Takes it for the one item of a request.
    ///
    /// # Errors
    /// When there is one already, it has no bytes, or its media type is not read here.
    pub fn put(self, payload: &mut Payload, limits: &MediaLimits) -> Result<(), Problem> {
        let pointer = self.pointer();
        if !payload.items.is_empty() {
            return Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                "one field called file",
                "two",
                "send one request a file, or a list in JSON",
            ));
        }
        let media = ItemMedia::of(self.content_type.as_deref().unwrap_or_default(), &pointer)?;
        if self.bytes.is_empty() {
            return Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                "bytes",
                "none",
                "send the file",
            ));
        }
        *payload = Payload::single(item(media, self.bytes, &pointer, limits)?, pointer);
        Ok(())
    }
}

/// A form without its file.
pub fn without_file(fields: usize) -> Problem {
    Problem::fault(
        Kind::InvalidInput,
        "/file",
        "a field called file",
        format!("{fields} other fields"),
        "with curl: -F file=@FILE",
    )
}

/// Reads a form.
pub async fn read(
    content_type: &HeaderValue,
    body: Bytes,
    limits: &MediaLimits,
    params: &mut Collected,
) -> Result<Said, Problem> {
    let parts = parts(content_type, body).await?;
    let count = parts.len();
    let mut said = Said::default();
    for part in parts {
        if part.is_file() {
            part.put(&mut said.payload, limits)?;
        } else {
            add_field(&mut said, params, &part)?;
        }
    }
    if said.payload.items.is_empty() {
        return Err(without_file(count));
    }
    Ok(said)
}

fn add_field(said: &mut Said, params: &mut Collected, part: &Part) -> Result<(), Problem> {
    let pointer = part.pointer();
    match part.name.as_str() {
        "model" => {
            let name = params::model_name(part.text()?, &pointer)?;
            said.model = once(said.model.take(), name)?;
            Ok(())
        }
        "parameters" => json::parameters(&part.bytes, params),
        name => {
            let text = part.text()?.to_owned();
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
