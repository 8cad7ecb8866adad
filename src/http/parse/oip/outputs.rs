//! The outputs that a request names.

use crate::domain::Problem;
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::{fault, values};
use crate::http::parse::oip::json::{name, refused};
use crate::http::parse::{Collected, step};
use crate::oip::Wanted;

/// The most classes that one output is asked for.
const CLASSES_MAX: u64 = 1_000_000;

/// Reads one output of the list.
pub fn wanted(reader: &mut Reader<'_>, pointer: &str) -> Result<Wanted, Problem> {
    let (mut named, mut params) = (None, None);
    reader.object(|reader, key| {
        let at = format!("{pointer}/{}", step(key));
        match key {
            "name" if named.is_none() => named = Some(name(reader, &at)?),
            "parameters" if params.is_none() => params = Some(parameters(reader, &at)?),
            // What clients repeat of the metadata says nothing new.
            "datatype" | "shape" => reader.skip()?,
            _ => return Err(refused(&at, key, "name and parameters, each at most once")),
        }
        Ok(())
    })?;
    let Some(name) = named else {
        return Err(fault(&format!("{pointer}/name"), "a name", "none", "name the output"));
    };
    let params = params.unwrap_or_default().finish();
    let mut reader = params.reader();
    let classification = reader.integer("classification", 1..=CLASSES_MAX);
    let binary = reader.flag("binary_data");
    reader.finish()?;
    let classification = classification.and_then(|most| usize::try_from(most).ok());
    Ok(Wanted { name, classification, binary })
}

/// The parameters of one tensor.
pub fn parameters(reader: &mut Reader<'_>, pointer: &str) -> Result<Collected, Problem> {
    if reader.next()? != Next::Object {
        return Err(fault(pointer, "an object", reader.shown()?, "such as {}"));
    }
    let mut params = Collected::default();
    reader.object(|reader, name| {
        let pointer = format!("{pointer}/{}", step(name));
        let value = values::value(reader, &pointer)?;
        params.add(name, value, pointer)
    })?;
    Ok(params)
}
