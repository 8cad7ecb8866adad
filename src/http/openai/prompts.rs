//! `prompt` and `input`: a string, a list of strings, a list of token ids, or a list of such lists.

use crate::domain::{Item, Kind, MediaLimits, Payload, Problem};
use crate::http::openai::fields;
use crate::http::parse::{self, Next, Reader, fault};

const FORMS: &str = "a string, a list of strings, a list of token ids, or a list of lists of them";

/// # Errors
/// [`Problem`] when it is none of these forms, or over a limit.
pub fn read(reader: &mut Reader<'_>, at: &str, limits: &MediaLimits) -> Result<Payload, Problem> {
    match reader.next()? {
        Next::String => Ok(Payload::single(string(reader, at, limits)?, at)),
        Next::List => listed(reader, at, limits),
        _ => Err(fault(at, FORMS, reader.shown()?, "text goes in quotes")),
    }
}

fn string(reader: &mut Reader<'_>, at: &str, limits: &MediaLimits) -> Result<Item, Problem> {
    parse::text(fields::text(reader, at)?, at, limits)
}

/// What comes first decides what the list is: one item of token ids, or items.
fn listed(reader: &mut Reader<'_>, at: &str, limits: &MediaLimits) -> Result<Payload, Problem> {
    let mut payload = Payload::default();
    let mut ids = Vec::new();
    let mut first = None;
    reader.list(|reader| {
        let next = reader.next()?;
        let place = format!("{at}/{}", payload.items.len() + ids.len());
        if *first.get_or_insert(next) != next {
            return Err(fault(&place, FORMS, reader.shown()?, "do not mix them"));
        }
        let item = match next {
            Next::Number => return id(reader, &place, &mut ids, at, limits),
            Next::String => string(reader, &place, limits)?,
            Next::List => tokens(reader, &place, limits)?,
            _ => return Err(fault(&place, FORMS, reader.shown()?, "text goes in quotes")),
        };
        if payload.items.len() == limits.items_max {
            let expected = format!("at most {} items", limits.items_max);
            let hint = "send several requests";
            return Err(Problem::fault(Kind::TooLarge, at, expected, "more", hint));
        }
        payload.items.push(item);
        payload.pointers.push(place);
        Ok(())
    })?;
    match first {
        None => Err(fault(at, FORMS, "an empty list", "add an item")),
        Some(Next::Number) => Ok(Payload::single(Item::Tokens(ids), at)),
        Some(_) => Ok(payload),
    }
}

fn tokens(reader: &mut Reader<'_>, at: &str, limits: &MediaLimits) -> Result<Item, Problem> {
    let mut ids = Vec::new();
    reader.list(|reader| {
        let place = format!("{at}/{}", ids.len());
        id(reader, &place, &mut ids, at, limits)
    })?;
    Ok(Item::Tokens(ids))
}

/// One id of the list at `list`. Whether the model has it is the model's to say.
fn id(
    reader: &mut Reader<'_>,
    place: &str,
    ids: &mut Vec<u32>,
    list: &str,
    limits: &MediaLimits,
) -> Result<(), Problem> {
    if ids.len() == limits.text_bytes_max {
        let expected = format!("at most {} token ids", limits.text_bytes_max);
        return Err(Problem::fault(Kind::TooLarge, list, expected, "more", "send fewer"));
    }
    ids.push(fields::integer(reader, place, 0, u32::MAX)?);
    Ok(())
}
