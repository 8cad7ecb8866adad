//! The JSON form: `{"model"?, "inputs" | "instances" | "image" | "text" | "audio", "parameters"?}`.
//!
//! * `image`, `audio`: base64 or a data URL, or a list of them. `text`: a string, or a list of them.
//! * `inputs`: one item, or a list of strings or of objects. A list of numbers is one tensor.
//! * `instances`: a list with one item an element, as TensorFlow Serving's clients send it.
//! * An item is a string (text), nested lists of numbers (a tensor), `{"shape": […], "data": […]}`
//!   (a tensor, flat), or `{"image" | "text" | "audio" | "b64": …}`, where `b64` is bytes of no
//!   stated type.
//!
//! Read in one pass, by visitors that put what they find where it belongs. Whatever is not known is
//! refused: a misspelt parameter that is ignored gives a wrong answer that looks right.

mod cx;
mod items;
mod strings;
mod tensor;
mod values;

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};

use crate::domain::{MediaLimits, ModelName, Payload, Problem};
use crate::http::parse::{Collected, Said, clip, params, step};
use cx::{Cx, refuse};
use items::{Inputs, Instances};
use strings::{Media, Plain, Texts};

/// Reads a whole document; parameters are added to `params`.
pub fn document(
    body: &[u8],
    limits: &MediaLimits,
    params: &mut Collected,
) -> Result<Said, Problem> {
    let cx = Cx::new(limits);
    let mut json = serde_json::Deserializer::from_slice(body);
    Document { cx: &cx, params }
        .deserialize(&mut json)
        .and_then(|said| json.end().map(|()| said))
        .map_err(|error| cx.problem(&error))
}

/// Reads an object of parameters alone.
pub fn parameters(body: &[u8], params: &mut Collected) -> Result<(), Problem> {
    let limits = MediaLimits::default();
    let cx = Cx::new(&limits);
    let mut json = serde_json::Deserializer::from_slice(body);
    values::Parameters { cx: &cx, params }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| cx.problem(&error))
}

/// Items, and whether the caller sent them as a list.
pub struct Found {
    payload: Payload,
    list: bool,
}

struct Document<'a, 'c> {
    cx: &'a Cx<'c>,
    params: &'a mut Collected,
}

const INPUTS: &str = "exactly one of inputs, instances, image, text, audio";

impl Document<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        let hint = "such as {\"inputs\": …, \"parameters\": {…}}";
        self.cx.fault("", "an object", got, hint)
    }

    fn unknown<E: de::Error>(&self, key: &str) -> E {
        let expected = format!("model, parameters and {INPUTS}");
        let got = format!("`{}`", clip(key));
        self.cx.fault(&format!("/{}", step(key)), &expected, got, "remove it, or mend its spelling")
    }

    fn twice<E: de::Error>(&self, key: &str) -> E {
        self.cx.fault(&format!("/{key}"), "each key once", format!("`{key}` twice"), "remove one")
    }

    fn items<'de, A: MapAccess<'de>>(&self, key: &str, map: &mut A) -> Result<Found, A::Error> {
        let cx = self.cx;
        match key {
            "inputs" => map.next_value_seed(Inputs { cx }),
            "instances" => map.next_value_seed(Instances { cx }),
            "image" => map.next_value_seed(Texts { cx, key: "image", media: Media::Image }),
            "audio" => map.next_value_seed(Texts { cx, key: "audio", media: Media::Audio }),
            _ => map.next_value_seed(Texts { cx, key: "text", media: Media::Text }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = Said;
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Said, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = Said;
    refuse!(null, boolean, number, string, list);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        let (mut model, mut found, mut parameters) = (None::<ModelName>, None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "model" if model.is_some() => return Err(self.twice("model")),
                "model" => {
                    let name = map.next_value_seed(Plain { cx: self.cx, pointer: "/model" })?;
                    let name = params::model_name(&name, "/model");
                    model = Some(name.map_err(|problem| self.cx.stop(problem))?);
                }
                "parameters" if parameters => return Err(self.twice("parameters")),
                "parameters" => {
                    parameters = true;
                    let params = &mut *self.params;
                    map.next_value_seed(values::Parameters { cx: self.cx, params })?;
                }
                "inputs" | "instances" | "image" | "text" | "audio" if found.is_some() => {
                    let got = format!("`{key}` beside another of them");
                    let hint = "send a list, or one request each";
                    return Err(self.cx.fault(&format!("/{key}"), INPUTS, got, hint));
                }
                "inputs" | "instances" | "image" | "text" | "audio" => {
                    found = Some(self.items(&key, &mut map)?);
                }
                _ => return Err(self.unknown(&key)),
            }
        }
        let Some(Found { payload, list }) = found else {
            return Err(self.cx.fault("", INPUTS, "none of them", "say what to predict on"));
        };
        Ok(Said { model, payload, list })
    }
}
