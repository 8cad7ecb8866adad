//! Items: the value of `inputs`, and each element of `instances`.

use crate::domain::{Item, MediaLimits, Payload, Problem};
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::strings::{Media, listed, one, push};
use crate::http::parse::json::tensor::{Builder, assemble, commas, data, shape};
use crate::http::parse::json::{Found, fault};
use crate::http::parse::{clip, step};

const ITEM: &str = "a string, lists of numbers, {\"shape\", \"data\"}, or one of {\"image\"}, {\"text\"}, \
     {\"audio\"}, {\"b64\"}";
const INPUTS: &str = "/inputs";

/// The value of `instances`: a list with one item an element.
pub fn instances(reader: &mut Reader<'_>, limits: &MediaLimits) -> Result<Found, Problem> {
    const INSTANCES: &str = "/instances";
    if reader.next()? != Next::List {
        let hint = "for a single item use inputs";
        return Err(fault(INSTANCES, "a list of items", reader.shown()?, hint));
    }
    let mut payload = Payload::default();
    reader.list(|reader| {
        let pointer = format!("{INSTANCES}/{}", payload.items.len());
        // They are mostly of one size.
        let like = match payload.items.last() {
            Some(Item::Tensor(tensor)) => tensor.data().len(),
            _ => 0,
        };
        let item = element(reader, &pointer, like, limits)?;
        push(&mut payload, item, pointer, limits)
    })?;
    listed(payload, INSTANCES)
}

/// One item; a tensor of probably `values` values.
fn element(
    reader: &mut Reader<'_>,
    pointer: &str,
    values: usize,
    limits: &MediaLimits,
) -> Result<Item, Problem> {
    match reader.next()? {
        Next::String => one(reader, pointer, Media::Text, limits),
        Next::Object => object(reader, pointer, limits),
        Next::List | Next::Number => {
            let mut builder = Builder::new(limits, pointer, values);
            builder.value(reader)?;
            builder.finish().map(Item::Tensor)
        }
        Next::Null | Next::Boolean => Err(no_item(reader, pointer)?),
    }
}

fn no_item(reader: &mut Reader<'_>, pointer: &str) -> Result<Problem, Problem> {
    Ok(fault(pointer, ITEM, reader.shown()?, "see GET /v1/models for what a model reads"))
}

/// An item that is an object: its one key says its media, or `shape` and `data` are a tensor.
fn object(reader: &mut Reader<'_>, pointer: &str, limits: &MediaLimits) -> Result<Item, Problem> {
    let (mut item, mut sizes, mut values) = (None, None, None);
    reader.object(|reader, key| {
        let at = format!("{pointer}/{}", step(key));
        match (key, Media::of_key(key)) {
            ("shape", _) if sizes.is_none() && item.is_none() => {
                sizes = Some(shape(reader, &at)?);
            }
            ("data", _) if values.is_none() && item.is_none() => {
                values = Some(data(reader, &at, limits)?);
            }
            (_, Some(media)) if item.is_none() && sizes.is_none() && values.is_none() => {
                item = Some(one(reader, &at, media, limits)?);
            }
            ("shape" | "data", _) | (_, Some(_)) => {
                return Err(fault(&at, ITEM, "a key more", "send one item an object"));
            }
            _ => {
                let got = format!("`{}`", clip(key));
                return Err(fault(&at, ITEM, got, "remove it, or mend its spelling"));
            }
        }
        Ok(())
    })?;
    match (item, sizes, values) {
        (Some(item), ..) => Ok(item),
        (None, Some(shape), Some(data)) => assemble(pointer, shape, data, limits).map(Item::Tensor),
        _ => Err(fault(pointer, ITEM, "an object that lacks them", "name the item's media")),
    }
}

/// The value of `inputs`: one item, a list of strings or objects, or a tensor's outermost list.
pub fn inputs(reader: &mut Reader<'_>, limits: &MediaLimits) -> Result<Found, Problem> {
    match reader.next()? {
        Next::String => one(reader, INPUTS, Media::Text, limits).map(single),
        Next::Object => object(reader, INPUTS, limits).map(single),
        Next::List => listed_inputs(reader, limits),
        Next::Null | Next::Boolean | Next::Number => {
            let expected = format!("an item ({ITEM}), or a list of items");
            let hint = "a list of tensors goes into instances";
            Err(fault(INPUTS, &expected, reader.shown()?, hint))
        }
    }
}

/// A list in `inputs`. Whichever comes first decides what it is: items, or the numbers of one tensor.
fn listed_inputs(reader: &mut Reader<'_>, limits: &MediaLimits) -> Result<Found, Problem> {
    let mut payload = Payload::default();
    let mut tensor = Builder::new(limits, INPUTS, commas(reader.rest()) + 1);
    tensor.open()?;
    reader.list(|reader| {
        let pointer = format!("{INPUTS}/{}", payload.items.len());
        match reader.next()? {
            Next::Number | Next::List if payload.items.is_empty() => tensor.values(reader),
            Next::String if tensor.is_empty() => {
                let item = one(reader, &pointer, Media::Text, limits)?;
                push(&mut payload, item, pointer, limits)
            }
            Next::Object if tensor.is_empty() => {
                let item = object(reader, &pointer, limits)?;
                push(&mut payload, item, pointer, limits)
            }
            Next::Null | Next::Boolean => Err(no_item(reader, &pointer)?),
            _ => {
                let hint = "a list of tensors goes into instances";
                Err(fault(INPUTS, "numbers alone, or items alone", "a list of both", hint))
            }
        }
    })?;
    if tensor.is_empty() {
        return listed(payload, INPUTS);
    }
    tensor.close()?;
    tensor.finish().map(Item::Tensor).map(single)
}

fn single(item: Item) -> Found {
    Found { payload: Payload::single(item, INPUTS), list: false }
}
