//! The fields of the form, and what they mean.

use crate::domain::{Kind, MediaLimits, ParamValue, Params, Payload, Problem};
use crate::http::openai::audio::Task;
use crate::http::openai::audio::formats::Format;
use crate::http::openai::document::Named;
use crate::http::parse::{self, Collected, Part};

/// What a problem points to when a model cannot translate.
pub const TRANSLATES: &str = "/model";

/// Its name as the clients send it; without the brackets it is the same.
const GRANULARITIES: &str = "timestamp_granularities[]";

/// Fields of OpenAI's that mean something no model here does.
const NOT_OFFERED: &[&str] = &[
    "include",
    "include[]",
    "chunking_strategy",
    "known_speaker_names",
    "known_speaker_names[]",
    "known_speaker_references",
    "known_speaker_references[]",
    "hotwords",
    "logprobs",
];

/// A language's name, or a few words that were said before.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A form that was understood.
#[derive(Debug)]
pub struct Asked {
    pub model: Named,
    pub payload: Payload,
    /// For the model.
    pub params: Params,
    pub wanted: Wanted,
}

/// What the answer is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub format: Format,
    pub segments: bool,
    pub words: bool,
    pub stream: bool,
}

/// Fields as they come.
#[derive(Default)]
struct Fields {
    payload: Payload,
    model: Option<Named>,
    granularities: Vec<Granularity>,
    others: Collected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granularity {
    Segment,
    Word,
}

/// Reads a form's fields.
///
/// # Errors
/// A problem that points to the field.
pub fn read(parts: Vec<Part>, task: Task, limits: &MediaLimits) -> Result<Asked, Problem> {
    let (mut fields, count) = (Fields::default(), parts.len());
    for part in parts {
        fields.add(part, limits)?;
    }
    let Fields { payload, model, granularities, others } = fields;
    if payload.items.is_empty() {
        return Err(parse::without_file(count));
    }
    let model = model.ok_or_else(without_model)?;
    let mut given = others.finish();
    let (wanted, temperature) = wanted(&given, &granularities, task)?;
    let mut params = given.split_off(&["language", "prompt"]);
    let mut put = |name: &str, value, pointer: &str| {
        params.insert(name, value, pointer.to_owned());
    };
    // At 0 a model takes the likeliest text, and where it knows a way out of a bad one, that: its own default.
    if temperature > 0.0 {
        put("temperature", ParamValue::Number(temperature), "/temperature");
    }
    if task == Task::Translate {
        put("task", ParamValue::Text(task.name().to_owned()), TRANSLATES);
    }
    Ok(Asked { model, payload, params, wanted })
}

impl Fields {
    fn add(&mut self, part: Part, limits: &MediaLimits) -> Result<(), Problem> {
        if part.is_file() {
            return part.put(&mut self.payload, limits);
        }
        let (pointer, text) = (part.pointer(), part.text()?);
        match part.name.as_str() {
            "model" if self.model.is_some() => Err(twice(&pointer)),
            "model" => {
                self.model = Some(Named::of(text.to_owned(), &pointer)?);
                Ok(())
            }
            GRANULARITIES | "timestamp_granularities" => {
                self.granularities.push(Granularity::read(text, &pointer)?);
                Ok(())
            }
            name if NOT_OFFERED.contains(&name) => Err(not_offered(&pointer)),
            // Nothing said before is what is said without the field.
            "prompt" if text.trim().is_empty() => Ok(()),
            name => self.others.add(name, ParamValue::Text(text.to_owned()), pointer),
        }
    }
}

impl Granularity {
    fn read(text: &str, pointer: &str) -> Result<Self, Problem> {
        match text {
            "segment" => Ok(Self::Segment),
            "word" => Ok(Self::Word),
            _ => Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                "segment or word",
                format!("{:?}", parse::clip(text)),
                "send the field once for each of them",
            )),
        }
    }
}

impl Wanted {
    /// Asks a model for what the answer needs. The text of one that does not stream is told by its segments.
    pub fn ask(self, params: &mut Params, streams: bool) {
        let stream = self.stream && streams;
        let cues = matches!(self.format, Format::Srt | Format::Vtt);
        let segments = self.segments || cues || (self.stream && !streams);
        if segments || self.words {
            let finest = if self.words { "word" } else { "segment" };
            let pointer = format!("/{GRANULARITIES}");
            params.insert("timestamps", ParamValue::Text(finest.to_owned()), pointer);
        }
        if stream {
            params.insert("stream", ParamValue::Bool(true), "/stream".to_owned());
        }
    }
}

/// What the answer is to look like, and the temperature.
fn wanted(
    given: &Params,
    granularities: &[Granularity],
    task: Task,
) -> Result<(Wanted, f64), Problem> {
    let mut reader = given.reader();
    let format = reader.choice("response_format", Format::NAMES);
    let temperature = reader.number("temperature", 0.0..=1.0).unwrap_or(0.0);
    reader.texts("prompt", 1, TEXT_BYTES_MAX);
    let mut stream = false;
    if task == Task::Transcribe {
        reader.texts("language", 1, TEXT_BYTES_MAX);
        stream = reader.flag("stream").unwrap_or(false);
    }
    reader.finish()?;
    let format = format.map_or(Format::Json, Format::of);
    if stream && format != Format::Json {
        return Err(only_with("/response_format", "json, where the answer is streamed", format));
    }
    let verbose = format == Format::VerboseJson;
    if !granularities.is_empty() && (!verbose || task == Task::Translate) {
        let pointer = format!("/{GRANULARITIES}");
        return Err(only_with(
            &pointer,
            "a transcription with response_format=verbose_json",
            format,
        ));
    }
    let asks = |what| granularities.contains(&what);
    let segments = verbose && (granularities.is_empty() || asks(Granularity::Segment));
    Ok((Wanted { format, segments, words: asks(Granularity::Word), stream }, temperature))
}

fn only_with(pointer: &str, expected: &str, format: Format) -> Problem {
    Problem::fault(
        Kind::InvalidInput,
        pointer,
        expected,
        format!("response_format={}", format.name()),
        "change one of the two, or leave it out",
    )
}

fn without_model() -> Problem {
    Problem::fault(
        Kind::InvalidInput,
        "/model",
        "a field called model",
        "none",
        "GET /v1/models lists the models",
    )
}

fn twice(pointer: &str) -> Problem {
    Problem::fault(Kind::InvalidInput, pointer, "the field once", "twice", "remove one of them")
}

fn not_offered(pointer: &str) -> Problem {
    Problem::fault(
        Kind::Unsupported,
        pointer,
        "no such field",
        "one",
        "leave it out: no model here does what it asks for",
    )
}
