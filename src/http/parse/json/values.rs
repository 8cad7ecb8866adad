//! `parameters`: an object of strings, numbers, booleans and lists of strings.

use crate::domain::{ParamValue, Problem};
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::{fault, strings};
use crate::http::parse::{Collected, step};

const STRINGS_MAX: usize = 64;

/// Reads the object, and adds what it holds to `params`.
pub fn parameters(reader: &mut Reader<'_>, params: &mut Collected) -> Result<(), Problem> {
    if reader.next()? != Next::Object {
        let hint = "such as {\"top_k\": 3}";
        return Err(fault("/parameters", "an object", reader.shown()?, hint));
    }
    reader.object(|reader, name| {
        let pointer = format!("/parameters/{}", step(name));
        let value = value(reader, &pointer)?;
        params.add(name, value, pointer)
    })
}

/// One value.
pub fn value(reader: &mut Reader<'_>, pointer: &str) -> Result<ParamValue, Problem> {
    match reader.next()? {
        Next::Boolean => reader.boolean().map(ParamValue::Bool),
        Next::Number => reader.double().map(ParamValue::Number),
        Next::String => Ok(ParamValue::Text(reader.string()?.into_owned())),
        Next::List => strings_of(reader, pointer).map(ParamValue::List),
        Next::Null | Next::Object => Err(wrong(pointer, reader.shown()?)),
    }
}

fn strings_of(reader: &mut Reader<'_>, pointer: &str) -> Result<Vec<String>, Problem> {
    let mut list = Vec::new();
    reader.list(|reader| {
        if list.len() == STRINGS_MAX {
            return Err(wrong(pointer, "a longer list"));
        }
        let string = strings::plain(reader, &format!("{pointer}/{}", list.len()))?;
        list.push(string.into_owned());
        Ok(())
    })?;
    Ok(list)
}

fn wrong(pointer: &str, got: impl Into<String>) -> Problem {
    let expected = "a string, a number, true, false, or a list of at most 64 strings";
    fault(pointer, expected, got, "leave it out to get the default")
}
