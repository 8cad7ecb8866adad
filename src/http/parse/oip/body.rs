//! The small documents of the protocol: what an index is to show, parameters, texts to go on from.

use crate::domain::{Params, Problem};
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::{fault, strings, values};
use crate::http::parse::oip::json::{name, refused};
use crate::http::parse::{Collected, step};

/// What an index is to show.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what serves.
    pub ready: bool,
}

/// `{"ready"?: bool}`, or nothing.
///
/// # Errors
/// [`Problem`] when it is something else.
pub fn filter(body: &[u8]) -> Result<Filter, Problem> {
    let mut ready = None;
    object(body, |reader, key| match key {
        "ready" if ready.is_none() => {
            if reader.next()? != Next::Boolean {
                return Err(fault("/ready", "true or false", reader.shown()?, "or leave it out"));
            }
            ready = Some(reader.boolean()?);
            Ok(())
        }
        _ => Err(refused(&format!("/{}", step(key)), key, "ready, once")),
    })?;
    Ok(Filter { ready: ready.unwrap_or(false) })
}

/// `{"parameters"?: {…}}`, or nothing.
///
/// # Errors
/// [`Problem`] when it is something else.
pub fn parameters(body: &[u8]) -> Result<Params, Problem> {
    let mut params = None;
    object(body, |reader, key| match key {
        "parameters" if params.is_none() => {
            let mut found = Collected::default();
            values::parameters(reader, &mut found)?;
            params = Some(found);
            Ok(())
        }
        _ => Err(refused(&format!("/{}", step(key)), key, "parameters, once")),
    })?;
    Ok(params.unwrap_or_default().finish())
}

/// A text to go on from, and how.
#[derive(Debug, PartialEq)]
pub struct Generate {
    pub id: Option<String>,
    pub text: String,
    pub params: Params,
}

/// `{"id"?, "text_input", "parameters"?: {…}}`. Triton's clients may give parameters beside the text, too.
///
/// # Errors
/// [`Problem`] when it is something else.
pub fn generate(body: &[u8]) -> Result<Generate, Problem> {
    let (mut id, mut text, mut params, mut nested) = (None, None, Collected::default(), false);
    object(body, |reader, key| {
        match key {
            "id" if id.is_none() => id = Some(name(reader, "/id")?),
            "text_input" if text.is_none() => {
                text = Some(strings::plain(reader, "/text_input")?.into_owned());
            }
            "parameters" if !nested => {
                nested = true;
                values::parameters(reader, &mut params)?;
            }
            "id" | "text_input" | "parameters" => {
                return Err(refused(&format!("/{key}"), key, "each key once"));
            }
            _ => {
                let pointer = format!("/{}", step(key));
                let value = values::value(reader, &pointer)?;
                params.add(key, value, pointer)?;
            }
        }
        Ok(())
    })?;
    let missing = || fault("/text_input", "a text", "none", "say what to go on from");
    Ok(Generate { id, text: text.ok_or_else(missing)?, params: params.finish() })
}

/// Reads an object, or a body that is empty.
fn object(
    body: &[u8],
    each: impl FnMut(&mut Reader<'_>, &str) -> Result<(), Problem>,
) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(body);
    if reader.next()? != Next::Object {
        return Err(fault("", "an object", reader.shown()?, "or an empty body"));
    }
    reader.object(each)?;
    reader.end()
}

/// An object whose members are settings, or nothing.
///
/// # Errors
/// [`Problem`] when it is something else.
pub fn settings(body: &[u8]) -> Result<Params, Problem> {
    let mut params = Collected::default();
    object(body, |reader, key| {
        let pointer = format!("/{}", step(key));
        let value = values::value(reader, &pointer)?;
        params.add(key, value, pointer)
    })?;
    Ok(params.finish())
}
