//! `parameters`: an object of strings, numbers, booleans, lists of strings and objects of numbers.

use std::collections::HashSet;

use crate::domain::{ParamValue, Problem};
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::{fault, strings};
use crate::http::parse::{Collected, clip, step};

const STRINGS_MAX: usize = 64;
const NUMBERS_MAX: usize = 1024;

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
        Next::Object => numbers(reader, pointer).map(ParamValue::Numbers),
        Next::Null => Err(wrong(pointer, reader.shown()?)),
    }
}

/// An object of numbers, such as `{"5": -100}`.
pub fn numbers(reader: &mut Reader<'_>, pointer: &str) -> Result<Vec<(String, f64)>, Problem> {
    if reader.next()? != Next::Object {
        let hint = "such as {\"5\": -100}";
        return Err(fault(pointer, "an object of numbers", reader.shown()?, hint));
    }
    let mut names = HashSet::new();
    let mut pairs = Vec::new();
    reader.object(|reader, name| {
        let at = format!("{pointer}/{}", step(name));
        if pairs.len() == NUMBERS_MAX {
            let expected = format!("an object of at most {NUMBERS_MAX} numbers");
            return Err(fault(pointer, &expected, "a longer one", "leave some out"));
        }
        if !names.insert(name.to_owned()) {
            return Err(fault(
                &at,
                "each name once",
                format!("`{}` twice", clip(name)),
                "remove one",
            ));
        }
        if reader.next()? != Next::Number {
            return Err(fault(&at, "a number", reader.shown()?, "such as {\"5\": -100}"));
        }
        pairs.push((name.to_owned(), reader.double()?));
        Ok(())
    })?;
    Ok(pairs)
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
    let expected =
        "a string, a number, true, false, a list of at most 64 strings, or an object of numbers";
    fault(pointer, expected, got, "leave it out to get the default")
}
