//! Media types.

use std::str;

use axum::http::HeaderValue;
use bytes::Bytes;

use crate::domain::{Item, Kind, MediaLimits, Problem};
use crate::http::parse::{clip, text};

const EXPECTED: &str = "image/*, audio/*, text/plain, application/octet-stream, application/json \
                        or multipart/form-data";

/// What a Content-Type says of a body.
pub enum Form<'a> {
    Json,
    Multipart(&'a HeaderValue),
    Item(ItemMedia),
}

/// What a Content-Type says of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemMedia {
    Image,
    Audio,
    Text,
    Opaque,
}

impl<'a> Form<'a> {
    /// The form of a body. None stated means bytes of no stated type.
    pub fn of(header: Option<&'a HeaderValue>) -> Result<Self, Problem> {
        let Some(header) = header else { return Ok(Self::Item(ItemMedia::Opaque)) };
        let text =
            header.to_str().map_err(|_| refused("/headers/content-type", "no ASCII text"))?;
        let essence = essence(text);
        match essence.as_str() {
            "application/json" => Ok(Self::Json),
            "multipart/form-data" => Ok(Self::Multipart(header)),
            _ => ItemMedia::of(text, "/headers/content-type").map(Self::Item),
        }
    }
}

impl ItemMedia {
    /// The media of one item by its Content-Type; `pointer` is where that was said.
    pub fn of(content_type: &str, pointer: &str) -> Result<Self, Problem> {
        let essence = essence(content_type);
        match essence.as_str() {
            "" | "application/octet-stream" | "application/x-www-form-urlencoded" => {
                Ok(Self::Opaque)
            }
            "text/plain" if speaks_utf8(content_type) => Ok(Self::Text),
            image if image.starts_with("image/") => Ok(Self::Image),
            audio if audio.starts_with("audio/") => Ok(Self::Audio),
            _ => Err(refused(pointer, &clip(content_type))),
        }
    }
}

/// One item of raw bytes.
pub fn item(
    media: ItemMedia,
    bytes: Bytes,
    pointer: &str,
    limits: &MediaLimits,
) -> Result<Item, Problem> {
    match media {
        ItemMedia::Image => Ok(Item::Image(bytes)),
        ItemMedia::Audio => Ok(Item::Audio(bytes)),
        ItemMedia::Opaque => Ok(Item::Opaque(bytes)),
        ItemMedia::Text => text(utf8(&bytes, pointer)?.to_owned(), pointer, limits),
    }
}

/// Text that must be UTF-8.
pub fn utf8<'a>(bytes: &'a [u8], pointer: &str) -> Result<&'a str, Problem> {
    str::from_utf8(bytes).map_err(|error| {
        Problem::fault(
            Kind::Undecodable,
            pointer,
            "text in UTF-8",
            format!("a byte that is not UTF-8 at offset {}", error.valid_up_to()),
            "convert the text to UTF-8, or say what the bytes are with a Content-Type",
        )
    })
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn speaks_utf8(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    lower
        .split(';')
        .filter_map(|part| part.trim().strip_prefix("charset="))
        .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"))
}

fn refused(pointer: &str, got: &str) -> Problem {
    Problem::fault(
        Kind::UnsupportedMedia,
        pointer,
        EXPECTED,
        got,
        "leave the type out, or say application/octet-stream, and the model tries to read the bytes",
    )
}
