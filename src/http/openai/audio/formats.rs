//! A transcript in the five forms that clients ask for.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{Outcome, Problem, Segment, Word};
use crate::http::answer;
use crate::http::openai::audio::Task;
use crate::http::openai::audio::form::Wanted;

/// ISO 639's code for a language that nobody determined.
const UNDETERMINED: &str = "und";

/// What `response_format` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
    Srt,
    VerboseJson,
    Vtt,
}

impl Format {
    pub const NAMES: &[&str] = &["json", "text", "srt", "verbose_json", "vtt"];

    /// By its name; json, where it has none of them.
    pub fn of(name: &str) -> Self {
        let all = [Self::Json, Self::Text, Self::Srt, Self::VerboseJson, Self::Vtt];
        all.into_iter().find(|format| format.name() == name).unwrap_or(Self::Json)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Srt => "srt",
            Self::VerboseJson => "verbose_json",
            Self::Vtt => "vtt",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::VerboseJson => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Srt => "application/x-subrip; charset=utf-8",
            Self::Vtt => "text/vtt; charset=utf-8",
        }
    }
}

#[derive(Serialize)]
struct Short<'a> {
    text: &'a str,
    usage: Usage,
}

/// What was used, by the seconds of sound.
#[derive(Serialize)]
pub struct Usage {
    r#type: &'static str,
    seconds: f32,
}

#[derive(Serialize)]
struct Verbose<'a> {
    task: &'static str,
    language: &'a str,
    duration: f32,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Vec<Stretch<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<&'a [Word]>,
    usage: Usage,
}

/// A segment by the names of its members there.
#[derive(Serialize)]
struct Stretch<'a> {
    id: usize,
    seek: u64,
    start: f32,
    end: f32,
    text: &'a str,
    tokens: &'a [u32],
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
}

/// A whole answer.
///
/// # Errors
/// [`Kind::Internal`](crate::domain::Kind::Internal) when the outcome is no transcript.
pub fn respond(heard: &Outcome, wanted: Wanted, task: Task) -> Result<Response, Problem> {
    let body = body(heard, wanted, task)?;
    Ok(([(header::CONTENT_TYPE, wanted.format.media_type())], body).into_response())
}

fn body(heard: &Outcome, wanted: Wanted, task: Task) -> Result<String, Problem> {
    let Outcome::Transcript { text, words, segments, language, duration } = heard else {
        return Err(answer::unusable());
    };
    let usage = Usage { r#type: "duration", seconds: *duration };
    match wanted.format {
        Format::Json => answer::text(&Short { text, usage }),
        Format::Text => Ok(format!("{text}\n")),
        Format::Srt => Ok(srt(segments)),
        Format::Vtt => Ok(vtt(segments)),
        Format::VerboseJson => answer::text(&Verbose {
            task: task.name(),
            language: match task {
                Task::Transcribe => language.as_deref().unwrap_or(UNDETERMINED),
                Task::Translate => "en",
            },
            duration: *duration,
            text,
            segments: wanted.segments.then(|| stretches(segments)),
            words: wanted.words.then_some(words),
            usage,
        }),
    }
}

fn stretches(segments: &[Segment]) -> Vec<Stretch<'_>> {
    segments.iter().enumerate().map(|(id, segment)| Stretch::of(id, segment)).collect()
}

impl<'a> Stretch<'a> {
    fn of(id: usize, segment: &'a Segment) -> Self {
        let Segment { start, end, text, evidence } = segment;
        Self {
            id,
            seek: evidence.seek,
            start: *start,
            end: *end,
            text,
            tokens: &evidence.tokens,
            temperature: evidence.temperature,
            avg_logprob: evidence.log_probability,
            compression_ratio: evidence.compression,
            no_speech_prob: evidence.no_speech,
        }
    }
}

/// `SubRip`: numbered from 1.
fn srt(segments: &[Segment]) -> String {
    let cue = |(at, segment): (usize, &Segment)| {
        let times = times(segment, ',');
        format!("{}\n{times}\n{}\n\n", at + 1, line(&segment.text))
    };
    segments.iter().enumerate().map(cue).collect()
}

/// `WebVTT`, in whose texts markup must be escaped.
fn vtt(segments: &[Segment]) -> String {
    let cue = |segment: &Segment| {
        let text = line(&segment.text).replace('&', "&amp;").replace('<', "&lt;");
        format!("{}\n{text}\n\n", times(segment, '.'))
    };
    format!("WEBVTT\n\n{}", segments.iter().map(cue).collect::<String>())
}

fn times(segment: &Segment, point: char) -> String {
    format!("{} --> {}", clock(segment.start, point), clock(segment.end, point))
}

/// Hours, minutes, seconds and milliseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours at most")]
fn clock(seconds: f32, point: char) -> String {
    let all = (f64::from(seconds) * 1e3).round().max(0.0) as u64;
    let (hours, minutes, seconds) = (all / 3_600_000, all / 60_000 % 60, all / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", all % 1000)
}

/// A text on one line and without an arrow, either of which would end a cue's text.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("-->", "->")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Evidence;

    fn segment(start: f32, end: f32, text: &str) -> Segment {
        Segment { start, end, text: text.to_owned(), evidence: Evidence::default() }
    }

    #[test]
    fn subtitles_are_written_by_their_rules() {
        let segments =
            [segment(0.0, 1.5, "one & <two>"), segment(3599.9996, 3661.042, "a\n\nb --> c")];
        let expected = "1\n00:00:00,000 --> 00:00:01,500\none & <two>\n\n\
                        2\n01:00:00,000 --> 01:01:01,042\na b -> c\n\n";
        assert_eq!(srt(&segments), expected);
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\none &amp; &lt;two>\n\n\
                        01:00:00.000 --> 01:01:01.042\na b -> c\n\n";
        assert_eq!(vtt(&segments), expected);
        assert_eq!((srt(&[]).as_str(), vtt(&[]).as_str()), ("", "WEBVTT\n\n"));
    }

    #[test]
    fn every_format_has_its_name() {
        for name in Format::NAMES {
            assert_eq!(Format::of(name).name(), *name);
        }
    }
}
