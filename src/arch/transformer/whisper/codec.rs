//! Sound to recordings, transcripts to answers.

use std::sync::Arc;

use crate::arch::transformer::waveform::Waveforms;
use crate::arch::transformer::whisper::config::Tokens;
use crate::arch::transformer::whisper::decode::Task;
use crate::arch::transformer::whisper::recording::{Options, Recording, Transcript};
use crate::arch::transformer::whisper::vocabulary::Vocabulary;
use crate::domain::{Kind, Outcome, Params, Payload, Problem, Segment};
use crate::engine::{Codec, TokenId};
use crate::media::windows;

/// Beams that a caller may ask for: each costs as much as a recording of its own.
const BEAMS_MAX: u64 = 10;

/// Reads sound for a [`Transcriber`](super::transcriber::Transcriber).
pub struct WhisperCodec {
    pub waveforms: Waveforms,
    pub tokens: Tokens,
    pub vocabulary: Arc<Vocabulary>,
    /// Samples that are listened to in one go. Longer sound is cut where it is quiet: its parts can run on
    /// several threads, and none holds one for long.
    pub longest: usize,
}

/// What the answer needs to know of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    segments: bool,
    items: Vec<Parts>,
}

/// One item's parts: where each begins, and where the last ends, in samples.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    starts: Vec<usize>,
    end: usize,
}

impl WhisperCodec {
    fn options(&self, params: &Params) -> Result<Options, Problem> {
        let told = self.tokens.multilingual.as_ref();
        let mut reader = params.reader();
        let languages: Vec<&str> = match told {
            Some(told) => told.languages.keys().map(String::as_str).collect(),
            None => vec!["en"],
        };
        let tasks: &[&str] =
            if told.is_some() { &["transcribe", "translate"] } else { &["transcribe"] };
        let language = reader.choice("language", &languages);
        let task = reader.choice("task", tasks);
        let segments = reader.choice("timestamps", &["segment"]).is_some();
        let beams = reader.integer("beam_size", 1..=BEAMS_MAX);
        let temperature = reader.number("temperature", 0.0..=1.0);
        let seed = reader.integer("seed", 0..=(1 << 53) - 1);
        reader.finish()?;
        if let (Some(2..), Some(warm)) = (beams, temperature.filter(|&warm| warm > 0.0)) {
            return Err(Problem::fault(
                Kind::InvalidInput,
                params.pointer("beam_size").unwrap_or_default(),
                "1 where the temperature is above 0",
                format!("more than 1, and a temperature of {warm}"),
                "leave out `beam_size` or `temperature`: beams search, a temperature draws",
            ));
        }
        let token_of = |language: &str| told?.languages.get(language).copied();
        Ok(Options {
            language: language.and_then(token_of),
            task: if task == Some("translate") { Task::Translate } else { Task::Transcribe },
            segments,
            beams: beams.and_then(|beams| usize::try_from(beams).ok()).unwrap_or(1),
            #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
            temperature: temperature.map(|temperature| temperature as f32),
            seed: seed.unwrap_or(0),
        })
    }

    fn language(&self, token: TokenId) -> Option<String> {
        let mut languages = self.tokens.multilingual.as_ref()?.languages.iter();
        languages.find(|&(_, &known)| known == token).map(|(name, _)| name.clone())
    }

    fn outcome(&self, parts: &Parts, made: &[Transcript], segments: bool) -> Outcome {
        let mut text = String::new();
        let mut told = Vec::new();
        for (start, segment) in parts.starts.iter().zip(made).flat_map(|(&start, transcript)| {
            transcript.segments.iter().map(move |segment| (start, segment))
        }) {
            let words = self.vocabulary.text(&segment.tokens);
            text.push_str(&words);
            if segments {
                told.push(Segment {
                    start: self.seconds(start + segment.start),
                    end: self.seconds(start + segment.end),
                    text: words.trim().to_owned(),
                });
            }
        }
        let language = made.iter().find_map(|transcript| transcript.language);
        Outcome::Transcript {
            text: text.trim().to_owned(),
            words: Vec::new(),
            segments: told,
            language: language.and_then(|token| self.language(token)),
            duration: self.seconds(parts.end),
        }
    }

    /// To the millisecond.
    #[expect(clippy::cast_precision_loss, reason = "a recording has hours at most")]
    #[expect(clippy::cast_possible_truncation, reason = "a time is told in f32")]
    fn seconds(&self, samples: usize) -> f32 {
        let seconds = samples as f64 / f64::from(self.waveforms.sample_rate.max(1));
        ((seconds * 1e3).round() / 1e3) as f32
    }
}

impl Codec for WhisperCodec {
    type Sample = Recording;
    type Output = Transcript;
    type Ask = Ask;

    fn decode(&self, payload: Payload, params: &Params) -> Result<(Vec<Recording>, Ask), Problem> {
        let options = self.options(params)?;
        let mut recordings = Vec::new();
        let mut items = Vec::new();
        for sound in self.waveforms.read(payload)? {
            let parts = windows::cut(&sound, self.longest, self.waveforms.sample_rate);
            let starts = parts.iter().map(|part| part.start).collect();
            items.push(Parts { starts, end: sound.len() });
            recordings.extend(
                parts.into_iter().map(|part| Recording { samples: sound[part].to_vec(), options }),
            );
        }
        Ok((recordings, Ask { segments: options.segments, items }))
    }

    fn encode(&self, outputs: Vec<Transcript>, ask: &Ask) -> Result<Vec<Outcome>, Problem> {
        let mut left = outputs.as_slice();
        let mut outcomes = Vec::with_capacity(ask.items.len());
        for parts in &ask.items {
            let (made, rest) = left.split_at_checked(parts.starts.len()).ok_or_else(|| {
                Problem::new(Kind::Internal, "the network answered fewer parts than it was given")
            })?;
            left = rest;
            outcomes.push(self.outcome(parts, made, ask.segments));
        }
        Ok(outcomes)
    }
}
