//! A request of the Open Inference Protocol over REST: JSON, and behind it the bytes of tensors that are not
//! written in it (Triton's binary tensor extension).

pub mod body;
mod input;
mod json;
mod outputs;

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;

use crate::domain::{Card, Kind, MediaLimits, Problem};
use crate::http::parse::Collected;
use crate::oip::{Asked, InferRequest, Input};

/// Says how many bytes of a body are JSON.
pub const JSON_LENGTH: &str = "inference-header-content-length";

/// A request as it came, its body read whole.
pub struct Wire {
    /// How many bytes of the body are JSON; all of them, where the header does not say.
    json_length: Option<usize>,
    body: Bytes,
}

impl Wire {
    /// # Errors
    /// [`Kind::InvalidInput`] when the header is not a number of bytes that the body has,
    /// [`Kind::UnsupportedMedia`] when the body says that it is something else.
    pub fn new(headers: &HeaderMap, body: Bytes) -> Result<Self, Problem> {
        let json_length = headers.get(JSON_LENGTH).map(|value| length(value, &body)).transpose()?;
        if json_length.is_none() {
            media_type(headers)?;
        }
        Ok(Self { json_length, body })
    }

    /// How much there is to read.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Reads the request. `card` tells what a body of bytes alone is.
    ///
    /// # Errors
    /// [`Problem`] with pointer, expected, got and hint.
    pub fn read(self, card: &Card, limits: &MediaLimits) -> Result<InferRequest, Problem> {
        match self.json_length {
            Some(0) => raw(self.body, card, limits),
            length => {
                let mut binary = self.body.clone();
                let json = binary.split_to(length.unwrap_or(binary.len()));
                json::read(&json, binary, card, limits)
            }
        }
    }
}

/// `inputs` alone are JSON; clients of binary tensors say so with the header.
fn media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(said) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = said.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let known = ["application/json", "application/x-www-form-urlencoded", "text/plain"];
    if known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(Problem::fault(
        Kind::UnsupportedMedia,
        "/headers/content-type",
        "application/json; with Inference-Header-Content-Length, application/octet-stream",
        super::clip(essence),
        "say how many bytes of the body are JSON; 0 where it is one tensor's bytes alone",
    ))
}

fn length(value: &HeaderValue, body: &Bytes) -> Result<usize, Problem> {
    let text = value.to_str().unwrap_or_default();
    let length = text.parse().ok().filter(|&length: &usize| length <= body.len());
    length.ok_or_else(|| {
        Problem::fault(
            Kind::InvalidInput,
            "/headers/inference-header-content-length",
            format!("how many of the body's {} bytes are JSON", body.len()),
            super::clip(text),
            "the length is that of the JSON before any Content-Encoding",
        )
    })
}

/// One tensor's bytes and nothing else: the model must have one input, of at most one size that varies.
fn raw(body: Bytes, card: &Card, limits: &MediaLimits) -> Result<InferRequest, Problem> {
    let one = "a model of one input with at most one size that varies";
    let refused = |got: String| {
        let hint = "send JSON, and its length in Inference-Header-Content-Length";
        Problem::fault(Kind::InvalidInput, "/body", one, got, hint)
    };
    let [spec] = card.inputs.as_slice() else {
        return Err(refused(format!("{} inputs", card.inputs.len())));
    };
    let mut shape = vec![1];
    let input = if let Some(width) = spec.datatype.width() {
        let fixed: i64 = spec.shape.iter().filter(|&&size| size > 0).product();
        let fixed = usize::try_from(fixed).unwrap_or(usize::MAX).saturating_mul(width).max(1);
        if spec.shape.iter().filter(|&&size| size < 0).count() > 1 {
            return Err(refused("several sizes that vary".to_owned()));
        }
        let varying = i64::try_from(body.len() / fixed).unwrap_or(i64::MAX);
        shape.extend(spec.shape.iter().map(|&size| if size < 0 { varying } else { size }));
        let shape = crate::oip::check_shape(&shape, spec.datatype, limits, "/body")?;
        Input::raw((spec.name.clone(), spec.datatype, shape), body, "/body")?
    } else {
        let values = crate::oip::Values::Elements(vec![body]);
        Input::of((spec.name.clone(), spec.datatype, vec![1, 1]), values, "/body")?
    };
    let asked = Asked { binary: true, ..Asked::default() };
    let params = Collected::default().finish();
    Ok(InferRequest { id: None, inputs: vec![input], asked, params })
}
