//! What both endpoints that generate text have in common: how it is drawn, and how it is sent.

use crate::domain::{ParamValue, Params, Problem};
use crate::http::openai::fields;
use crate::http::parse::{Reader, fault, numbers};

/// Texts of one prompt.
pub const TEXTS_MAX: u32 = 32;
const STOPS_MAX: usize = 4;
const USER_BYTES_MAX: usize = 512;

/// The keys that were read of both.
#[derive(Default)]
pub struct Sampling {
    /// Those that the engine reads.
    pub params: Params,
    pub n: Option<u32>,
    pub stream: bool,
    stream_options: bool,
    /// Whether the stream ends with its usage.
    pub include_usage: bool,
}

impl Sampling {
    /// Reads the value of a key; `false` when it is none of these, and nothing is read.
    ///
    /// # Errors
    /// [`Problem`] when the value has another type. Its range is the engine's to judge.
    pub fn member(
        &mut self,
        reader: &mut Reader<'_>,
        key: &str,
        at: &str,
    ) -> Result<bool, Problem> {
        match key {
            "temperature" | "top_p" | "min_p" | "top_k" | "seed" | "presence_penalty"
            | "frequency_penalty" | "repetition_penalty" => {
                let number = fields::number(reader, at)?;
                self.put(key, ParamValue::Number(number), at);
            }
            "n" => self.n = Some(fields::integer(reader, at, 1, TEXTS_MAX)?),
            "stop" => {
                let texts = fields::texts(reader, at, STOPS_MAX)?;
                self.put(key, ParamValue::List(texts), at);
            }
            "logit_bias" => {
                let biases = numbers(reader, at)?;
                self.put(key, ParamValue::Numbers(biases), at);
            }
            "stream" => self.stream = fields::flag(reader, at)?,
            "stream_options" => {
                self.stream_options = true;
                self.include_usage = include_usage(reader, at)?;
            }
            "user" => user(reader, at)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Says something to the engine in the request's name.
    pub fn put(&mut self, name: &str, value: ParamValue, at: &str) {
        // A body has each of its keys once, which was seen to when it was read.
        self.params.insert(name, value, at.to_owned());
    }

    pub fn put_integer(&mut self, name: &str, value: u32, at: &str) {
        self.put(name, ParamValue::Number(value.into()), at);
    }

    /// After the last key.
    ///
    /// # Errors
    /// [`Problem`] when keys do not go together.
    pub fn finish(&mut self) -> Result<(), Problem> {
        if self.stream_options && !self.stream {
            let expected = "stream_options only beside stream: true";
            return Err(fault("/stream_options", expected, "no stream", "remove it"));
        }
        if self.stream {
            self.put("stream", ParamValue::Bool(true), "/stream");
        }
        Ok(())
    }
}

fn include_usage(reader: &mut Reader<'_>, at: &str) -> Result<bool, Problem> {
    let mut include = false;
    fields::object(reader, at, |reader, key, at| {
        if key != "include_usage" {
            return Err(fields::unknown(at, key));
        }
        include = fields::flag(reader, at)?;
        Ok(())
    })?;
    Ok(include)
}

/// The caller's name for whoever asks it. Clients send it; it changes no answer and is kept nowhere.
pub fn user(reader: &mut Reader<'_>, at: &str) -> Result<(), Problem> {
    let user = fields::text(reader, at)?;
    if user.len() <= USER_BYTES_MAX {
        return Ok(());
    }
    let expected = format!("at most {USER_BYTES_MAX} bytes");
    Err(fault(at, &expected, format!("{} bytes", user.len()), "send a shorter name"))
}
