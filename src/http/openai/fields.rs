//! The values of a body's keys, each of the type that it must have.

use std::collections::HashSet;

use crate::domain::{Kind, Problem};
use crate::http::parse::{Next, Reader, clip, fault, step};

/// Keys of one object.
const KEYS_MAX: usize = 64;

/// Reads a whole body. As [`object`].
pub fn body(
    bytes: &[u8],
    each: impl FnMut(&mut Reader<'_>, &str, &str) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut reader = Reader::new(bytes);
    object(&mut reader, "", each)?;
    reader.end()
}

/// Calls `each` with every key of an object and its place, to read the value. What is null is passed over.
pub fn object(
    reader: &mut Reader<'_>,
    at: &str,
    mut each: impl FnMut(&mut Reader<'_>, &str, &str) -> Result<(), Problem>,
) -> Result<(), Problem> {
    if reader.next()? != Next::Object {
        return Err(fault(at, "an object", reader.shown()?, "such as {\"model\": …}"));
    }
    let mut keys = HashSet::new();
    reader.object(|reader, key| {
        let place = format!("{at}/{}", step(key));
        if keys.len() == KEYS_MAX {
            let expected = format!("at most {KEYS_MAX} keys");
            return Err(fault(at, &expected, "more", "leave out those that say nothing"));
        }
        if !keys.insert(key.to_owned()) {
            return Err(fault(
                &place,
                "each key once",
                format!("`{}` twice", clip(key)),
                "remove one",
            ));
        }
        if reader.next()? == Next::Null { reader.null() } else { each(reader, key, &place) }
    })
}

/// A key that nobody knows here, or whose feature is not offered.
pub fn refused(at: &str, key: &str, hint: &str) -> Problem {
    Problem::fault(Kind::Unsupported, at, "only what is honoured here", clip(key), hint)
}

pub fn unknown(at: &str, key: &str) -> Problem {
    refused(at, key, "remove it, or mend its spelling")
}

/// What a request cannot do without.
pub fn required<T>(value: Option<T>, at: &str, hint: &str) -> Result<T, Problem> {
    value.ok_or_else(|| fault(at, "a value", "none", hint))
}

pub fn text(reader: &mut Reader<'_>, at: &str) -> Result<String, Problem> {
    if reader.next()? != Next::String {
        return Err(fault(at, "a string", reader.shown()?, "put it in quotes"));
    }
    reader.string().map(std::borrow::Cow::into_owned)
}

/// One of the texts that are honoured.
pub fn choice(reader: &mut Reader<'_>, at: &str, choices: &[&str]) -> Result<String, Problem> {
    let got = text(reader, at)?;
    if choices.contains(&got.as_str()) {
        return Ok(got);
    }
    let expected = format!("one of: {}", choices.join(", "));
    let got = format!("{:?}", clip(&got));
    Err(Problem::fault(Kind::Unsupported, at, expected, got, "leave it out"))
}

pub fn flag(reader: &mut Reader<'_>, at: &str) -> Result<bool, Problem> {
    if reader.next()? != Next::Boolean {
        return Err(fault(at, "true or false", reader.shown()?, "without quotes"));
    }
    reader.boolean()
}

pub fn number(reader: &mut Reader<'_>, at: &str) -> Result<f64, Problem> {
    if reader.next()? != Next::Number {
        return Err(fault(at, "a number", reader.shown()?, "without quotes"));
    }
    reader.double()
}

/// A whole number from `least` to `most`.
pub fn integer(reader: &mut Reader<'_>, at: &str, least: u32, most: u32) -> Result<u32, Problem> {
    let expected = || format!("an integer from {least} to {most}");
    if reader.next()? != Next::Number {
        return Err(fault(at, &expected(), reader.shown()?, "without quotes"));
    }
    let number = reader.number()?;
    let (value, (low, high)) = (number.double(), (f64::from(least), f64::from(most)));
    if value.fract() == 0.0 && (low..=high).contains(&value) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number of 32 bits, checked above"
        )]
        return Ok(value as u32);
    }
    let got = clip(&String::from_utf8_lossy(number.text()));
    Err(fault(at, &expected(), got, "give it a value of that kind, or leave it out"))
}

/// One text, or a list of at most `most`.
pub fn texts(reader: &mut Reader<'_>, at: &str, most: usize) -> Result<Vec<String>, Problem> {
    let expected = || format!("a string, or a list of at most {most} strings");
    match reader.next()? {
        Next::String => Ok(vec![text(reader, at)?]),
        Next::List => {
            let mut texts = Vec::new();
            reader.list(|reader| {
                if texts.len() == most {
                    return Err(fault(at, &expected(), "a longer list", "leave some out"));
                }
                texts.push(text(reader, &format!("{at}/{}", texts.len()))?);
                Ok(())
            })?;
            Ok(texts)
        }
        _ => Err(fault(at, &expected(), reader.shown()?, "put it in quotes")),
    }
}
