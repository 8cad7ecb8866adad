//! Bodies that work, one for each model that serves.

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::example::{Example, ExampleBuilder};

use crate::domain::{Card, Datatype};

/// A picture of 4 x 4 grey pixels, as PNG in base64.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAAHElEQVR42mNgENdzZeBWsgxgENN1iWZQtPBPAwAZ3AMxSLS6ngAAAABJRU5ErkJggg==";
/// Three milliseconds of silence, as WAV in base64.
const SOUND: &str = "UklGRoQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YWAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const TEXT: &str = "In the beginning";

type Named = (String, RefOr<Example>);

/// Bodies of our own protocol.
pub fn items(cards: &[Card]) -> Vec<Named> {
    let item = |card: &Card| match kind(card)? {
        "image" => Some(json!({ "image": PICTURE })),
        "speech" => Some(json!({ "audio": SOUND })),
        _ => Some(json!({ "text": TEXT })),
    };
    named(cards, |card| {
        let mut body = item(card)?;
        body["model"] = json!(card.name);
        Some(body)
    })
}

/// Bodies of the Open Inference Protocol.
pub fn tensors(cards: &[Card]) -> Vec<Named> {
    named(cards, |card| {
        let element = match kind(card)? {
            "image" => PICTURE,
            "speech" => SOUND,
            _ => TEXT,
        };
        let input = card.inputs.first()?;
        let parameters = if input.datatype == Datatype::Bytes {
            json!({})
        } else {
            json!({ "content_type": "base64" })
        };
        Some(json!({ "inputs": [{
            "name": input.name,
            "datatype": "BYTES",
            "shape": [1],
            "parameters": parameters,
            "data": [element],
        }] }))
    })
}

/// What a task is about.
fn kind(card: &Card) -> Option<&str> {
    card.task.split('-').next()
}

fn named(cards: &[Card], body: impl Fn(&Card) -> Option<Value>) -> Vec<Named> {
    let example = |card: &Card| {
        let example = ExampleBuilder::new().summary(card.description.as_str());
        Some((card.name.to_string(), example.value(Some(body(card)?)).build().into()))
    };
    cards.iter().filter_map(example).collect()
}
