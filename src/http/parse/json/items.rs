//! Items: the value of `inputs`, and each element of `instances`.

use serde::de::{self, MapAccess, SeqAccess, Visitor};

use crate::domain::{Item, Payload};
use crate::http::parse::json::Found;
use crate::http::parse::json::cx::{Cx, numbers, refuse, seed};
use crate::http::parse::json::strings::{Media, One, listed, push};
use crate::http::parse::json::tensor::{Builder, Data, Shape, assemble};
use crate::http::parse::{clip, step};

const ITEM: &str = "a string, lists of numbers, {\"shape\", \"data\"}, or one of {\"image\"}, {\"text\"}, \
     {\"audio\"}, {\"b64\"}";

/// The value of `instances`: a list with one item an element.
pub struct Instances<'a, 'c> {
    pub cx: &'a Cx<'c>,
}

impl Instances<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.cx.fault("/instances", "a list of items", got, "for a single item use inputs")
    }
}
seed!(Instances => Found);

impl<'de> Visitor<'de> for Instances<'_, '_> {
    type Value = Found;
    refuse!(null, boolean, number, string, object);

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut payload = Payload::default();
        loop {
            let pointer = format!("/instances/{}", payload.items.len());
            let element = Element { cx: self.cx, pointer: &pointer };
            let Some(item) = list.next_element_seed(element)? else { break };
            push(self.cx, &mut payload, item, pointer)?;
        }
        listed(self.cx, payload, "instances")
    }
}

/// One item.
struct Element<'a, 'c> {
    cx: &'a Cx<'c>,
    pointer: &'a str,
}

impl Element<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.cx.fault(self.pointer, ITEM, got, "see GET /v1/models for what a model reads")
    }

    fn scalar<E: de::Error>(&self, value: f64) -> Result<Item, E> {
        let mut builder = Builder::new(self.cx, self.pointer);
        builder.number(value)?;
        builder.finish().map(Item::Tensor)
    }
}
seed!(Element => Item);

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = Item;
    refuse!(null, boolean);
    numbers!(self, value => self.scalar(value));

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Item, E> {
        Media::Text.item(self.cx, value, self.pointer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Item, A::Error> {
        let mut builder = Builder::new(self.cx, self.pointer);
        builder.list(list)?;
        builder.finish().map(Item::Tensor)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
        object(self.cx, self.pointer, map)
    }
}

/// An item that is an object: its one key says its media, or `shape` and `data` are a tensor.
fn object<'de, A: MapAccess<'de>>(
    cx: &Cx<'_>,
    pointer: &str,
    mut map: A,
) -> Result<Item, A::Error> {
    let (mut item, mut shape, mut data) = (None, None, None);
    while let Some(key) = map.next_key::<String>()? {
        let at = format!("{pointer}/{}", step(&key));
        let again = |cx: &Cx<'_>| cx.fault(&at, ITEM, "a key more", "send one item an object");
        match (key.as_str(), Media::of_key(&key)) {
            ("shape", _) if shape.is_none() && item.is_none() => {
                shape = Some(map.next_value_seed(Shape { cx, pointer: &at })?);
            }
            ("data", _) if data.is_none() && item.is_none() => {
                data = Some(map.next_value_seed(Data { cx, pointer: &at })?);
            }
            (_, Some(media)) if item.is_none() && shape.is_none() && data.is_none() => {
                item = Some(map.next_value_seed(One { cx, pointer: &at, media })?);
            }
            ("shape" | "data", _) | (_, Some(_)) => return Err(again(cx)),
            _ => {
                let got = format!("`{}`", clip(&key));
                return Err(cx.fault(&at, ITEM, got, "remove it, or mend its spelling"));
            }
        }
    }
    match (item, shape, data) {
        (Some(item), ..) => Ok(item),
        (None, Some(shape), Some(data)) => assemble(cx, pointer, shape, data).map(Item::Tensor),
        _ => Err(cx.fault(pointer, ITEM, "an object that lacks them", "name the item's media")),
    }
}

/// The value of `inputs`: one item, a list of strings or objects, or a tensor's outermost list.
pub struct Inputs<'a, 'c> {
    pub cx: &'a Cx<'c>,
}

const INPUTS: &str = "/inputs";

impl Inputs<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        let expected = format!("an item ({ITEM}), or a list of items");
        self.cx.fault(INPUTS, &expected, got, "a list of tensors goes into instances")
    }
}
seed!(Inputs => Found);

impl<'de> Visitor<'de> for Inputs<'_, '_> {
    type Value = Found;
    refuse!(null, boolean, number);

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Found, E> {
        Media::Text.item(self.cx, value, INPUTS).map(single)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Found, A::Error> {
        object(self.cx, INPUTS, map).map(single)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut payload = Payload::default();
        let mut tensor = Builder::new(self.cx, INPUTS);
        tensor.open()?;
        loop {
            let index = payload.items.len();
            let part = Part { cx: self.cx, tensor: &mut tensor, index };
            match list.next_element_seed(part)? {
                Some(Some(item)) => push(self.cx, &mut payload, item, at(index))?,
                Some(None) => {}
                None => break,
            }
        }
        if tensor.is_empty() {
            return listed(self.cx, payload, "inputs");
        }
        tensor.close()?;
        tensor.finish().map(Item::Tensor).map(single)
    }
}

fn single(item: Item) -> Found {
    Found { payload: Payload::single(item, INPUTS), list: false }
}

fn at(index: usize) -> String {
    format!("{INPUTS}/{index}")
}

/// One element of the list in `inputs`: an item, or `None` when it went into the tensor. Whichever
/// came first decides what the list is.
struct Part<'a, 'b, 'c> {
    cx: &'a Cx<'c>,
    tensor: &'b mut Builder<'a, 'c>,
    /// How many items came before.
    index: usize,
}

impl Part<'_, '_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.cx.fault(&at(self.index), ITEM, got, "see GET /v1/models for what a model reads")
    }

    fn mixed<E: de::Error>(&self) -> E {
        let hint = "a list of tensors goes into instances";
        self.cx.fault(INPUTS, "numbers alone, or items alone", "a list of both", hint)
    }

    fn number<E: de::Error>(self, value: f64) -> Result<Option<Item>, E> {
        if self.index > 0 {
            return Err(self.mixed());
        }
        self.tensor.number(value).map(|()| None)
    }
}

impl<'de> de::DeserializeSeed<'de> for Part<'_, '_, '_> {
    type Value = Option<Item>;
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_, '_, '_> {
    type Value = Option<Item>;
    refuse!(null, boolean);
    numbers!(self, value => self.number(value));

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<Item>, A::Error> {
        if self.index > 0 {
            return Err(self.mixed());
        }
        self.tensor.list(list).map(|()| None)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Option<Item>, E> {
        if !self.tensor.is_empty() {
            return Err(self.mixed());
        }
        Media::Text.item(self.cx, value, &at(self.index)).map(Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Item>, A::Error> {
        if !self.tensor.is_empty() {
            return Err(self.mixed());
        }
        object(self.cx, &at(self.index), map).map(Some)
    }
}
