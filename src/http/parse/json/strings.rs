//! Strings: text, and bytes as base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::domain::{Item, Kind, MediaLimits, Payload, Problem};
use crate::http::parse::json::reader::{Next, Reader};
use crate::http::parse::json::{Found, fault};
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
    fn item(
        self,
        string: Cow<'_, str>,
        pointer: &str,
        limits: &MediaLimits,
    ) -> Result<Item, Problem> {
        match self {
            Self::Text => text(string.into_owned(), pointer, limits),
            Self::Image => bytes(&string, "data:image/", pointer).map(Item::Image),
            Self::Audio => bytes(&string, "data:audio/", pointer).map(Item::Audio),
            Self::Opaque => bytes(&string, "data:", pointer).map(Item::Opaque),
        }
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
        fault(pointer, &format!("base64, or a data URL ({prefix}…;base64,…)"), got, hint)
    };
    let base64 = if string.starts_with("data:") {
        let (head, base64) = string.split_once(',').unwrap_or((string, ""));
        if !head.starts_with(prefix) || !head.ends_with(";base64") {
            let got = format!("{:?}", clip(head));
            return Err(refused(&got, "say what the bytes are, or nothing"));
        }
        base64
    } else {
        string
    };
    if base64.starts_with("http://") || base64.starts_with("https://") {
        return Err(refused("a URL", "nothing is fetched: send the bytes themselves"));
    }
    let decoded = decoded(base64)
        .ok_or_else(|| refused("a string that is not base64", "base64 -w0 FILE writes it"))?;
    if decoded.is_empty() {
        return Err(refused("no bytes", "send the bytes of the file"));
    }
    Ok(decoded)
}

/// The bytes that base64 stands for.
pub fn decoded(base64: &str) -> Option<Bytes> {
    BASE64.decode(base64).ok().map(Bytes::from)
}

/// One string, as it is.
pub fn plain<'a>(reader: &mut Reader<'a>, pointer: &str) -> Result<Cow<'a, str>, Problem> {
    match reader.next()? {
        Next::String => reader.string(),
        _ => Err(fault(pointer, "a string", reader.shown()?, "put it in quotes")),
    }
}

/// One string that is an item.
pub fn one(
    reader: &mut Reader<'_>,
    pointer: &str,
    media: Media,
    limits: &MediaLimits,
) -> Result<Item, Problem> {
    if reader.next()? != Next::String {
        let hint = "text as it is, bytes as base64";
        return Err(fault(pointer, "a string", reader.shown()?, hint));
    }
    media.item(reader.string()?, pointer, limits)
}

/// The value of `image`, `audio` or `text`: one string, or a list of them.
pub fn texts(
    reader: &mut Reader<'_>,
    key: &str,
    media: Media,
    limits: &MediaLimits,
) -> Result<Found, Problem> {
    let pointer = format!("/{key}");
    match reader.next()? {
        Next::String => {
            let item = one(reader, &pointer, media, limits)?;
            Ok(Found { payload: Payload::single(item, pointer), list: false })
        }
        Next::List => {
            let mut payload = Payload::default();
            reader.list(|reader| {
                let pointer = format!("/{key}/{}", payload.items.len());
                let item = one(reader, &pointer, media, limits)?;
                push(&mut payload, item, pointer, limits)
            })?;
            listed(payload, &pointer)
        }
        _ => {
            let hint = "text as it is, bytes as base64";
            Err(fault(&pointer, "a string, or a list of strings", reader.shown()?, hint))
        }
    }
}

/// Adds an item, unless the list is full.
pub fn push(
    payload: &mut Payload,
    item: Item,
    pointer: String,
    limits: &MediaLimits,
) -> Result<(), Problem> {
    if payload.items.len() >= limits.items_max {
        return Err(Problem::fault(
            Kind::TooLarge,
            pointer,
            format!("at most {} items", limits.items_max),
            "more",
            "send several requests",
        ));
    }
    payload.items.push(item);
    payload.pointers.push(pointer);
    Ok(())
}

/// A list of items, which must hold one.
pub fn listed(payload: Payload, pointer: &str) -> Result<Found, Problem> {
    if payload.items.is_empty() {
        return Err(fault(pointer, "one item or more", "an empty list", "add an item"));
    }
    Ok(Found { payload, list: true })
}
