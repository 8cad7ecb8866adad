//! From the wire to the domain: what a request says, with its form checked and nothing decoded.
//!
//! A raw body is one item, and its Content-Type says which. Bytes of no stated type are taken for
//! whatever the model reads, so that `curl --data-binary @cat.jpg` works as it is: curl then says
//! `application/x-www-form-urlencoded`, which no client of ours means.

mod json;
mod media;
mod multipart;
pub mod oip;
mod params;
mod schedule;

use axum::http::HeaderValue;
use bytes::Bytes;

use crate::domain::{Item, Kind, MediaLimits, ModelName, Params, Payload, Problem};

pub(super) use json::{Next, Reader, fault, numbers};
use media::{Form, ItemMedia};
pub(super) use multipart::{Part, without_file};
pub(super) use params::{Collected, reference};
pub use schedule::{Schedule, schedule};

/// What a request asks, with its form checked.
#[derive(Debug)]
pub struct Parsed {
    /// The model that the body names, or the query where the path names none.
    pub model: Option<ModelName>,
    pub payload: Payload,
    /// Whether the caller sent a list: the answer is one too, even of one item.
    pub list: bool,
    pub params: Params,
}

/// A request as it came, its body read whole.
pub struct Wire {
    pub content_type: Option<HeaderValue>,
    /// Percent-decoded names and values, in order.
    pub query: Vec<(String, String)>,
    /// Whether the path names the model; then `model` in the query is a parameter like any other.
    pub path_names_model: bool,
    pub body: Bytes,
}

impl Wire {
    /// Whether reading it means to look at every byte. An item is taken as it is.
    pub fn is_document(&self) -> bool {
        !matches!(Form::of(self.content_type.as_ref()), Ok(Form::Item(_)))
    }
}

/// What forms of bodies have in common: the items, and what else the body says.
#[derive(Debug, Default)]
struct Said {
    model: Option<ModelName>,
    payload: Payload,
    list: bool,
}

/// Reads a request.
///
/// # Errors
/// [`Problem`] with pointer, expected, got and hint, of one of the kinds that a caller can mend.
pub async fn parse(wire: Wire, limits: &MediaLimits) -> Result<Parsed, Problem> {
    let form = Form::of(wire.content_type.as_ref())?;
    let mut params = Collected::default();
    let mut model = None;
    for (name, value) in wire.query {
        if name == "model" && !wire.path_names_model {
            model = once(model, params::model_name(&value, "/query/model")?)?;
        } else {
            params.add_query(&name, value)?;
        }
    }
    if wire.body.is_empty() {
        return Err(Problem::fault(
            Kind::InvalidInput,
            "/body",
            "a body: the bytes of an item, JSON, or multipart/form-data",
            "an empty body",
            "with curl, --data-binary @FILE sends a file as it is",
        ));
    }
    let said = match form {
        Form::Json => json::document(&wire.body, limits, &mut params)?,
        Form::Multipart(content_type) => {
            multipart::read(content_type, wire.body, limits, &mut params).await?
        }
        Form::Item(media) => {
            let item = media::item(media, wire.body, "/body", limits)?;
            Said { payload: Payload::single(item, "/body"), ..Said::default() }
        }
    };
    if let Some(name) = said.model {
        model = once(model, name)?;
    }
    Ok(Parsed { model, payload: said.payload, list: said.list, params: params.finish() })
}

/// The fields of a body that must be a form.
///
/// # Errors
/// [`Kind::UnsupportedMedia`] when it says that it is none, and as a form's.
pub(super) async fn form(
    content_type: Option<&HeaderValue>,
    body: Bytes,
) -> Result<Vec<Part>, Problem> {
    match Form::of(content_type) {
        Ok(Form::Multipart(content_type)) => multipart::parts(content_type, body).await,
        _ => Err(Problem::fault(
            Kind::UnsupportedMedia,
            "/headers/content-type",
            "multipart/form-data",
            content_type
                .and_then(|said| said.to_str().ok())
                .map_or_else(|| "none".to_owned(), clip),
            "let the client write the form: curl -F file=@FILE",
        )),
    }
}

/// The one place where a model's name given twice is judged: it must be the same.
pub(super) fn once(
    known: Option<ModelName>,
    name: ModelName,
) -> Result<Option<ModelName>, Problem> {
    match known {
        Some(known) if known != name => Err(Problem::fault(
            Kind::InvalidInput,
            "/model",
            format!("{known}, which the request names elsewhere"),
            name.to_string(),
            "name the model once",
        )),
        _ => Ok(Some(name)),
    }
}

/// Whether a body's type lets it be read as JSON: it says so, or nothing, or what curl says of any data.
///
/// # Errors
/// [`Kind::UnsupportedMedia`] when it says that it is something else.
pub(super) fn must_be_json(content_type: Option<&HeaderValue>) -> Result<(), Problem> {
    if let Ok(Form::Json | Form::Item(ItemMedia::Opaque)) = Form::of(content_type) {
        return Ok(());
    }
    let got = content_type.and_then(|value| value.to_str().ok()).map_or_else(String::new, clip);
    Err(Problem::fault(
        Kind::UnsupportedMedia,
        "/headers/content-type",
        "application/json",
        got,
        "this endpoint reads JSON",
    ))
}

/// A text item, within its limit.
pub(super) fn text(text: String, pointer: &str, limits: &MediaLimits) -> Result<Item, Problem> {
    if text.len() > limits.text_bytes_max {
        return Err(Problem::fault(
            Kind::TooLarge,
            pointer,
            format!("at most {} bytes of text", limits.text_bytes_max),
            format!("{} bytes", text.len()),
            "send less text",
        ));
    }
    Ok(Item::Text(text))
}

/// A piece of what came, short enough for an error text.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

/// One step of a JSON pointer (RFC 6901), of a length that an error text bears.
pub(super) fn step(name: &str) -> String {
    clip(name).replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
