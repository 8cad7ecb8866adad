//! Strings: text, and bytes as base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::de::{self, SeqAccess, Visitor};

use crate::domain::{Item, Kind, Payload, Problem};
use crate::http::parse::json::Found;
use crate::http::parse::json::cx::{Cx, refuse, seed};
use crate::http::parse::{clip, text};

/// What a string stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Image,
    Audio,
    Text,
    /// Base64 of bytes of no stated type.
    Opaque,
}

impl Media {
    /// The media of an item object's key.
    pub fn of_key(key: &str) -> Option<Self> {
        match key {
            "image" => Some(Self::Image),
            "audio" => Some(Self::Audio),
            "text" => Some(Self::Text),
            "b64" => Some(Self::Opaque),
            _ => None,
        }
    }

    /// The item that a string is.
    pub fn item<E: de::Error>(self, cx: &Cx<'_>, string: &str, pointer: &str) -> Result<Item, E> {
        let item = match self {
            Self::Text => text(string.to_owned(), pointer, cx.limits),
            Self::Image => bytes(string, "data:image/", pointer).map(Item::Image),
            Self::Audio => bytes(string, "data:audio/", pointer).map(Item::Audio),
            Self::Opaque => bytes(string, "data:", pointer).map(Item::Opaque),
        };
        item.map_err(|problem| cx.stop(problem))
    }
}

/// Accepts base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes in base64 or in a data URL, whose media type must start with `prefix`.
fn bytes(string: &str, prefix: &str, pointer: &str) -> Result<Bytes, Problem> {
    let refused = |got: &str, hint: &str| {
        let expected = format!("base64, or a data URL ({prefix}…;base64,…)");
        Problem::fault(Kind::InvalidInput, pointer, expected, got, hint)
    };
    let base64 = if string.starts_with("data:") {
        let (head, base64) = string.split_once(',').unwrap_or((string, ""));
        if !head.starts_with(prefix) || !head.ends_with(";base64") {
            return Err(refused(
                &format!("{:?}", clip(head)),
                "say what the bytes are, or nothing",
            ));
        }
        base64
    } else {
        string
    };
    if base64.starts_with("http://") || base64.starts_with("https://") {
        return Err(refused("a URL", "nothing is fetched: send the bytes themselves"));
    }
    let decoded = BASE64
        .decode(base64)
        .map_err(|_| refused("a string that is not base64", "base64 -w0 FILE writes it"))?;
    if decoded.is_empty() {
        return Err(refused("no bytes", "send the bytes of the file"));
    }
    Ok(Bytes::from(decoded))
}

/// One string, as it is.
pub struct Plain<'a, 'c> {
    pub cx: &'a Cx<'c>,
    pub pointer: &'a str,
}

impl Plain<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.cx.fault(self.pointer, "a string", got, "put it in quotes")
    }
}
seed!(Plain => String);

impl<'de> Visitor<'de> for Plain<'_, '_> {
    type Value = String;
    refuse!(null, boolean, number, list, object);

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

/// One string that is an item.
pub struct One<'a, 'c> {
    pub cx: &'a Cx<'c>,
    pub pointer: &'a str,
    pub media: Media,
}

impl One<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.cx.fault(self.pointer, "a string", got, "text as it is, bytes as base64")
    }
}
seed!(One => Item);

impl<'de> Visitor<'de> for One<'_, '_> {
    type Value = Item;
    refuse!(null, boolean, number, list, object);

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Item, E> {
        self.media.item(self.cx, value, self.pointer)
    }
}

/// The value of `image`, `audio` or `text`: one string, or a list of them.
pub struct Texts<'a, 'c> {
    pub cx: &'a Cx<'c>,
    pub key: &'static str,
    pub media: Media,
}

impl Texts<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        let hint = "text as it is, bytes as base64";
        self.cx.fault(&format!("/{}", self.key), "a string, or a list of strings", got, hint)
    }
}
seed!(Texts => Found);

impl<'de> Visitor<'de> for Texts<'_, '_> {
    type Value = Found;
    refuse!(null, boolean, number, object);

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Found, E> {
        let pointer = format!("/{}", self.key);
        let item = self.media.item(self.cx, value, &pointer)?;
        Ok(Found { payload: Payload::single(item, pointer), list: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut payload = Payload::default();
        loop {
            let pointer = format!("/{}/{}", self.key, payload.items.len());
            let one = One { cx: self.cx, pointer: &pointer, media: self.media };
            let Some(item) = list.next_element_seed(one)? else { break };
            push(self.cx, &mut payload, item, pointer)?;
        }
        listed(self.cx, payload, self.key)
    }
}

/// Adds an item, unless the list is full.
pub fn push<E: de::Error>(
    cx: &Cx<'_>,
    payload: &mut Payload,
    item: Item,
    pointer: String,
) -> Result<(), E> {
    if payload.items.len() >= cx.limits.items_max {
        return Err(cx.stop(Problem::fault(
            Kind::TooLarge,
            pointer,
            format!("at most {} items", cx.limits.items_max),
            "more",
            "send several requests",
        )));
    }
    payload.items.push(item);
    payload.pointers.push(pointer);
    Ok(())
}

/// A list of items, which must hold one.
pub fn listed<E: de::Error>(cx: &Cx<'_>, payload: Payload, key: &str) -> Result<Found, E> {
    if payload.items.is_empty() {
        let pointer = format!("/{key}");
        return Err(cx.fault(&pointer, "one item or more", "an empty list", "add an item"));
    }
    Ok(Found { payload, list: true })
}
