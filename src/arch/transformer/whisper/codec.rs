//! Sound to recordings, transcripts to answers.

use std::sync::Arc;

use crate::arch::transformer::waveform::Waveforms;
use crate::arch::transformer::whisper::config::Tokens;
use crate::arch::transformer::whisper::decode::Task;
use crate::arch::transformer::whisper::recording::{self, Options, Recording, Times, Transcript};
use crate::arch::transformer::whisper::vocabulary::Vocabulary;
use crate::domain::{Evidence, Kind, Outcome, Params, Payload, Problem, Segment, Word};
use crate::engine::{Codec, TokenId};
use crate::media::windows;

/// Beams that a caller may ask for: each costs as much as a recording of its own.
const BEAMS_MAX: u64 = 10;

/// Of what was said before; the decoder has room for the last few hundred words at most.
const PROMPT_BYTES_MAX: usize = 64 << 10;

/// Reads sound for a [`Transcriber`](super::transcriber::Transcriber).
pub struct WhisperCodec {
    pub waveforms: Waveforms,
    pub tokens: Tokens,
    pub vocabulary: Arc<Vocabulary>,
    /// Samples that are listened to in one go. Longer sound is cut where it is quiet: its parts can run on
    /// several threads, and none holds one for long.
    pub longest: usize,
    /// Tokens of what was said before that the decoder has room for.
    pub before_max: usize,
}

/// What the answer needs to know of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    times: Times,
    items: Vec<Parts>,
}

/// One item's parts: where each begins, and where the last ends, in samples.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    starts: Vec<usize>,
    end: usize,
}

impl WhisperCodec {
    fn options(&self, params: &Params) -> Result<(Options, Arc<[TokenId]>), Problem> {
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
        let times = match reader.choice("timestamps", &["segment", "word"]) {
            None => Times::None,
            Some("segment") => Times::Segments,
            Some(_) => Times::Words,
        };
        let said_before =
            reader.texts("prompt", 1, PROMPT_BYTES_MAX).and_then(|mut texts| texts.pop());
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
        let before = said_before.map_or(Ok(Vec::new()), |text| self.before(&text, params))?;
        let token_of = |language: &str| told?.languages.get(language).copied();
        let options = Options {
            language: language.and_then(token_of),
            task: if task == Some("translate") { Task::Translate } else { Task::Transcribe },
            times,
            beams: beams.and_then(|beams| usize::try_from(beams).ok()).unwrap_or(1),
            #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
            temperature: temperature.map(|temperature| temperature as f32),
            seed: seed.unwrap_or(0),
        };
        Ok((options, before.into()))
    }

    /// The tokens of what was said before.
    fn before(&self, text: &str, params: &Params) -> Result<Vec<TokenId>, Problem> {
        self.vocabulary.before(text, self.before_max).ok_or_else(|| {
            Problem::fault(
                Kind::InvalidInput,
                params.pointer("prompt").unwrap_or_default(),
                "a text without the names of special tokens, and a model that was taught to go on from one",
                "another text, or another model",
                "leave out `prompt`",
            )
        })
    }

    /// A language that was told or heard, and where times are asked for also the only one there is.
    fn language(&self, made: &[Transcript], times: Times) -> Option<String> {
        if self.tokens.multilingual.is_none() {
            return (times > Times::None).then(|| "en".to_owned());
        }
        let token = made.iter().find_map(|transcript| transcript.language)?;
        self.tokens.language(token).map(str::to_owned)
    }

    fn outcome(&self, parts: &Parts, made: &[Transcript], times: Times) -> Outcome {
        let mut text = String::new();
        let mut told = Vec::new();
        let mut spoken = Vec::new();
        for (start, segment) in parts.starts.iter().zip(made).flat_map(|(&start, transcript)| {
            transcript.segments.iter().map(move |segment| (start, segment))
        }) {
            let words = self.vocabulary.text(&segment.tokens);
            text.push_str(&words);
            if times > Times::None {
                told.push(Segment {
                    start: self.seconds(start + segment.start),
                    end: self.seconds(start + segment.end),
                    text: words.trim().to_owned(),
                    evidence: self.evidence(start, segment),
                });
            }
            spoken.extend(segment.words.iter().map(|word| self.word(start, word)));
        }
        Outcome::Transcript {
            text: text.trim().to_owned(),
            words: spoken,
            segments: told,
            language: self.language(made, times),
            duration: self.seconds(parts.end),
        }
    }

    fn evidence(&self, start: usize, segment: &recording::Segment) -> Evidence {
        let heard = segment.heard;
        let rate = u64::from(self.waveforms.sample_rate.max(1));
        Evidence {
            seek: (start + heard.seek) as u64 * 100 / rate,
            tokens: segment.tokens.clone(),
            temperature: heard.temperature,
            log_probability: heard.log_probability,
            compression: heard.compression,
            no_speech: heard.no_speech,
        }
    }

    fn word(&self, start: usize, word: &recording::Word) -> Word {
        Word {
            word: word.text.trim().to_owned(),
            start: self.seconds(start + word.start),
            end: self.seconds(start + word.end),
            confidence: word.log_probability.exp().min(1.0),
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
        let (options, before) = self.options(params)?;
        let mut recordings = Vec::new();
        let mut items = Vec::new();
        for sound in self.waveforms.read(payload)? {
            let parts = windows::cut(&sound, self.longest, self.waveforms.sample_rate);
            let starts = parts.iter().map(|part| part.start).collect();
            items.push(Parts { starts, end: sound.len() });
            recordings.extend(parts.into_iter().map(|part| Recording {
                samples: sound[part].to_vec(),
                options,
                before: Arc::clone(&before),
            }));
        }
        Ok((recordings, Ask { times: options.times, items }))
    }

    fn encode(&self, outputs: Vec<Transcript>, ask: &Ask) -> Result<Vec<Outcome>, Problem> {
        let mut left = outputs.as_slice();
        let mut outcomes = Vec::with_capacity(ask.items.len());
        for parts in &ask.items {
            let (made, rest) = left.split_at_checked(parts.starts.len()).ok_or_else(|| {
                Problem::new(Kind::Internal, "the network answered fewer parts than it was given")
            })?;
            left = rest;
            outcomes.push(self.outcome(parts, made, ask.times));
        }
        Ok(outcomes)
    }
}
