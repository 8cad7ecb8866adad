//! The JSON form: `{"model"?, "inputs" | "instances" | "image" | "text" | "audio", "parameters"?}`.
//!
//! * `image`, `audio`: base64 or a data URL, or a list of them. `text`: a string, or a list of them.
//! * `inputs`: one item, or a list of strings or of objects. A list of numbers is one tensor.
//! * `instances`: a list with one item an element, as TensorFlow Serving's clients send it.
//! * An item is a string (text), nested lists of numbers (a tensor), `{"shape": […], "data": […]}`
//!   (a tensor, flat), or `{"image" | "text" | "audio" | "b64": …}`, where `b64` is bytes of no
//!   stated type.
//!
//! Read in one pass that puts what it finds where it belongs: no tree of values is ever built.
//! Whatever is not known is refused: a misspelt parameter that is ignored gives a wrong answer that
//! looks right.

mod items;
mod number;
pub mod reader;
pub mod strings;
pub mod tensor;
pub mod values;

use crate::domain::{Kind, MediaLimits, ModelName, Payload, Problem};
use crate::http::parse::{Collected, Said, clip, params, step};
pub use reader::{Next, Reader};
use strings::Media;
pub use values::numbers;

const INPUTS: &str = "exactly one of inputs, instances, image, text, audio";

/// Items, and whether the caller sent them as a list.
pub struct Found {
    payload: Payload,
    list: bool,
}

/// Reads a whole document; parameters are added to `params`.
pub fn document(
    body: &[u8],
    limits: &MediaLimits,
    params: &mut Collected,
) -> Result<Said, Problem> {
    let mut reader = Reader::new(body);
    if reader.next()? != Next::Object {
        let hint = "such as {\"inputs\": …, \"parameters\": {…}}";
        return Err(fault("", "an object", reader.shown()?, hint));
    }
    let mut document = Document { limits, params, model: None, found: None, parameters: false };
    reader.object(|reader, key| document.member(reader, key))?;
    reader.end()?;
    let Some(Found { payload, list }) = document.found else {
        return Err(fault("", INPUTS, "none of them", "say what to predict on"));
    };
    Ok(Said { model: document.model, payload, list })
}

/// Reads an object of parameters alone.
pub fn parameters(body: &[u8], params: &mut Collected) -> Result<(), Problem> {
    let mut reader = Reader::new(body);
    values::parameters(&mut reader, params)?;
    reader.end()
}

/// What was read of a document.
struct Document<'a> {
    limits: &'a MediaLimits,
    params: &'a mut Collected,
    model: Option<ModelName>,
    found: Option<Found>,
    parameters: bool,
}

impl Document<'_> {
    fn member(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), Problem> {
        match key {
            "model" if self.model.is_some() => return Err(twice("model")),
            "model" => {
                let name = strings::plain(reader, "/model")?;
                self.model = Some(params::model_name(&name, "/model")?);
            }
            "parameters" if self.parameters => return Err(twice("parameters")),
            "parameters" => {
                self.parameters = true;
                values::parameters(reader, self.params)?;
            }
            "inputs" | "instances" | "image" | "text" | "audio" if self.found.is_some() => {
                let got = format!("`{key}` beside another of them");
                let hint = "send a list, or one request each";
                return Err(fault(&format!("/{key}"), INPUTS, got, hint));
            }
            "inputs" => self.found = Some(items::inputs(reader, self.limits)?),
            "instances" => self.found = Some(items::instances(reader, self.limits)?),
            "image" => self.found = Some(strings::texts(reader, key, Media::Image, self.limits)?),
            "audio" => self.found = Some(strings::texts(reader, key, Media::Audio, self.limits)?),
            "text" => self.found = Some(strings::texts(reader, key, Media::Text, self.limits)?),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }
}

fn unknown(key: &str) -> Problem {
    let expected = format!("model, parameters and {INPUTS}");
    let got = format!("`{}`", clip(key));
    fault(&format!("/{}", step(key)), &expected, got, "remove it, or mend its spelling")
}

fn twice(key: &str) -> Problem {
    fault(&format!("/{key}"), "each key once", format!("`{key}` twice"), "remove one")
}

/// One fault of form.
pub fn fault(pointer: &str, expected: &str, got: impl Into<String>, hint: &str) -> Problem {
    Problem::fault(Kind::InvalidInput, pointer, expected, got, hint)
}
