//! The JSON of an inference request, in one pass.

use bytes::Bytes;

use crate::domain::{Card, MediaLimits, Problem};
use crate::http::parse::json::fault;
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::{strings, values};
use crate::http::parse::oip::input::{self, Draft};
use crate::http::parse::oip::outputs;
use crate::http::parse::{Collected, clip, step};
use crate::oip::{Asked, InferRequest, NAME_CHARS_MAX, TENSORS_MAX, Wanted};

/// Reads a whole request; `binary` are the bytes behind the JSON.
pub fn read(
    json: &[u8],
    binary: Bytes,
    card: &Card,
    limits: &MediaLimits,
) -> Result<InferRequest, Problem> {
    let mut reader = Reader::new(json);
    if reader.next()? != Next::Object {
        let hint = "such as {\"inputs\": [{\"name\", \"shape\", \"datatype\", \"data\"}]}";
        return Err(fault("", "an object", reader.shown()?, hint));
    }
    let mut said = Said::default();
    reader.object(|reader, key| said.member(reader, key, card))?;
    reader.end()?;
    let Some(drafts) = said.inputs else {
        return Err(fault("/inputs", "a list of tensors", "none", "say what to predict on"));
    };
    let inputs = input::finish(drafts, &reader, binary, limits)?;
    let asked = Asked { outputs: said.outputs.unwrap_or_default(), binary: false };
    let params = said.params.unwrap_or_default().finish();
    let mut request = InferRequest { id: said.id, inputs, asked, params };
    request.take_own()?;
    Ok(request)
}

/// What was read of a request.
#[derive(Default)]
struct Said {
    id: Option<String>,
    params: Option<Collected>,
    inputs: Option<Vec<Draft>>,
    outputs: Option<Vec<Wanted>>,
}

impl Said {
    fn member(&mut self, reader: &mut Reader<'_>, key: &str, card: &Card) -> Result<(), Problem> {
        match key {
            // KServe's client says in the body, too, what the path says.
            "model_name" => same(reader, "/model_name", card.name.as_str())?,
            "model_version" => same(reader, "/model_version", &card.version.to_string())?,
            "id" if self.id.is_none() => self.id = Some(name(reader, "/id")?),
            "parameters" if self.params.is_none() => {
                let mut params = Collected::default();
                values::parameters(reader, &mut params)?;
                self.params = Some(params);
            }
            "inputs" if self.inputs.is_none() => {
                self.inputs = Some(tensors(reader, "/inputs", input::draft)?);
            }
            "outputs" if self.outputs.is_none() => {
                self.outputs = Some(tensors(reader, "/outputs", outputs::wanted)?);
            }
            _ => return Err(refused(&format!("/{}", step(key)), key, KEYS)),
        }
        Ok(())
    }
}

const KEYS: &str = "id, parameters, inputs and outputs, each at most once";

/// A text that must be what is known already.
fn same(reader: &mut Reader<'_>, pointer: &str, known: &str) -> Result<(), Problem> {
    let said = name(reader, pointer)?;
    if said == known {
        return Ok(());
    }
    let hint = "leave it out: the path says it";
    Err(fault(pointer, known, format!("{:?}", clip(&said)), hint))
}

/// A key that is not known, or that came before.
pub fn refused(pointer: &str, key: &str, known: &str) -> Problem {
    let got = format!("`{}`", clip(key));
    fault(pointer, known, got, "remove it, or mend its spelling")
}

/// A text of a bounded length.
pub fn name(reader: &mut Reader<'_>, pointer: &str) -> Result<String, Problem> {
    let text = strings::plain(reader, pointer)?;
    let count = text.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&count) {
        return Ok(text.into_owned());
    }
    let expected = format!("1 to {NAME_CHARS_MAX} characters");
    Err(fault(pointer, &expected, format!("{count} characters"), "shorten it"))
}

/// A list of objects, each read by `each`, which is told where it is.
fn tensors<T>(
    reader: &mut Reader<'_>,
    pointer: &str,
    each: impl Fn(&mut Reader<'_>, &str) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let expected = format!("a list of at most {TENSORS_MAX} tensors");
    if reader.next()? != Next::List {
        return Err(fault(pointer, &expected, reader.shown()?, "put them in brackets"));
    }
    let mut found = Vec::new();
    reader.list(|reader| {
        if found.len() == TENSORS_MAX {
            return Err(fault(pointer, &expected, "more", "send several requests"));
        }
        let pointer = format!("{pointer}/{}", found.len());
        if reader.next()? != Next::Object {
            let got = reader.shown()?;
            return Err(fault(&pointer, "an object", got, "with a name, at least"));
        }
        found.push(each(reader, &pointer)?);
        Ok(())
    })?;
    Ok(found)
}
