//! One recording: its windows one after the other, each beginning where the last one's words end.

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::arch::transformer::compression;
use crate::arch::transformer::whisper::config::Tokens;
use crate::arch::transformer::whisper::decode::{Decoded, Fallback, Manner, Task, Verdict};
use crate::engine::TokenId;

/// Below this everywhere, a window is silent: −80 dB of full scale.
const SILENCE: f32 = 1e-4;

/// A waveform and what is asked about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// In about ±1 at the network's rate.
    pub samples: Vec<f32>,
    pub options: Options,
    /// What the decoder reads before each window, as if it had been said before.
    pub before: Arc<[TokenId]>,
}

/// What a request wants of its recordings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Options {
    /// The token of the language, where the network knows several and it was told.
    pub language: Option<TokenId>,
    pub task: Task,
    pub times: Times,
    /// 1 or 0 is greedy.
    pub beams: usize,
    /// Without one, those of the reference, from 0 up until a text is good.
    pub temperature: Option<f32>,
    pub seed: u64,
}

/// What an answer has the times of, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Times {
    #[default]
    None,
    Segments,
    /// And segments.
    Words,
}

/// Some words, from the first to the last of their samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub start: usize,
    pub end: usize,
    /// Without times.
    pub tokens: Vec<TokenId>,
    /// Of each token.
    pub log_probabilities: Vec<f32>,
    pub heard: Heard,
    /// Where they were asked for.
    pub words: Vec<Word>,
}

/// How a window was understood.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Heard {
    /// The first of its samples.
    pub seek: usize,
    pub temperature: f32,
    /// Mean over the window's tokens.
    pub log_probability: f32,
    /// Of the window's text.
    pub compression: f32,
    pub no_speech: f32,
}

/// A word, from the first to the last of its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// With its leading space, if any.
    pub text: String,
    pub start: usize,
    pub end: usize,
    /// Mean over its tokens.
    pub log_probability: f32,
}

/// What was said in a recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript {
    pub segments: Vec<Segment>,
    /// The language's token, where the network knows several.
    pub language: Option<TokenId>,
    /// Whether a window was judged by what came at a temperature above 0.
    pub drawn: bool,
}

/// Sizes in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub window: usize,
    /// From one time to the next.
    pub time: usize,
}

/// A recording that is being listened to.
pub struct Session {
    recording: Recording,
    sizes: Sizes,
    /// Where the window begins.
    seek: usize,
    /// Segments that were made of windows before the last one.
    earlier: usize,
    fallback: Fallback,
    pub rng: ChaCha8Rng,
    made: Transcript,
}

impl Session {
    #[must_use]
    pub fn new(recording: Recording, sizes: Sizes) -> Self {
        let Options { temperature, seed, language, .. } = recording.options;
        let mut session = Self {
            recording,
            sizes,
            seek: 0,
            earlier: 0,
            fallback: Fallback::new(temperature),
            rng: ChaCha8Rng::seed_from_u64(seed),
            made: Transcript { language, ..Transcript::default() },
        };
        session.skip_silence();
        session
    }

    /// The samples of the window that is next; none at the end.
    #[must_use]
    pub fn window(&self) -> Option<&[f32]> {
        let left = self.recording.samples.get(self.seek..)?;
        (!left.is_empty()).then(|| &left[..left.len().min(self.sizes.window)])
    }

    /// How that window is to be decoded. Where there are several, times tell where each ends.
    #[must_use]
    pub fn manner(&self) -> Manner {
        let Options { task, times, beams, .. } = self.recording.options;
        Manner {
            language: self.made.language,
            task,
            timestamps: times > Times::None || self.recording.samples.len() > self.sizes.window,
            temperature: self.fallback.temperature(),
            beams,
        }
    }

    /// What is read before the window.
    #[must_use]
    pub fn before(&self) -> &[TokenId] {
        &self.recording.before
    }

    #[must_use]
    pub fn wants_words(&self) -> bool {
        self.recording.options.times >= Times::Words
    }

    /// Takes what was made of the window; `text` are its words. `true` when the window is done, `false`
    /// when it is to be tried again.
    pub fn take(&mut self, decoded: &Decoded, text: &str, tokens: &Tokens) -> bool {
        let verdict = self.fallback.judge(decoded, text);
        if verdict == Verdict::Retry {
            return false;
        }
        let length = self.window().map_or(0, <[f32]>::len);
        let heard = Heard {
            seek: self.seek,
            temperature: self.fallback.temperature(),
            log_probability: decoded.log_probability,
            compression: compression::ratio(text.trim()),
            no_speech: decoded.no_speech,
        };
        self.earlier = self.made.segments.len();
        let used = match verdict {
            Verdict::Kept => self.cut(decoded, heard, length, tokens),
            Verdict::Silence | Verdict::Retry => length,
        };
        self.made.language = self.made.language.or(decoded.language);
        self.made.drawn |= self.fallback.temperature() > 0.0;
        self.fallback = Fallback::new(self.recording.options.temperature);
        self.seek += used;
        self.skip_silence();
        true
    }

    /// What was made of the last window that was taken, and where what was said before it ends.
    pub fn latest(&mut self) -> (&mut [Segment], usize) {
        let (earlier, latest) = self.made.segments.split_at_mut(self.earlier);
        let end = |said: &Segment| said.words.last().map_or(said.end, |word| word.end);
        (latest, earlier.last().map_or(0, end))
    }

    /// The same, to be read.
    #[must_use]
    pub fn told(&self) -> &[Segment] {
        &self.made.segments[self.earlier..]
    }

    #[must_use]
    pub fn finish(self) -> Transcript {
        self.made
    }

    /// Adds a window's segments; how many of its samples they use up.
    fn cut(&mut self, decoded: &Decoded, heard: Heard, length: usize, special: &Tokens) -> usize {
        let tokens = decoded.tokens.as_slice();
        let first = special.first_time();
        let is_time = |at: usize| tokens.get(at).is_some_and(|&token| token >= first);
        let step = self.sizes.time;
        let time = |token: TokenId| token.saturating_sub(first) as usize * step;
        // A pair of times parts two segments.
        let mut cuts: Vec<usize> =
            (1..tokens.len()).filter(|&at| is_time(at - 1) && is_time(at)).collect();
        let count = tokens.len();
        let ends_in_one = count >= 2 && is_time(count - 1) && !is_time(count - 2);
        if cuts.is_empty() {
            let last = tokens.iter().rfind(|&&token| token > first);
            let end = last.map_or(length, |&token| time(token));
            self.add((0, end.min(length)), decoded.parts(0..count), heard, special);
            return length;
        }
        if ends_in_one {
            cuts.push(count);
        }
        let mut from = 0;
        for &to in &cuts {
            let part = &tokens[from..to];
            if let (Some(&start), Some(&end)) = (part.first(), part.last()) {
                let times = (time(start).min(length), time(end).min(length));
                self.add(times, decoded.parts(from..to), heard, special);
            }
            from = to;
        }
        // A single time at the end says that nothing comes after it; else the rest is heard again.
        let used = if ends_in_one { length } else { time(tokens[from - 1]) };
        if used == 0 { length } else { used.min(length) }
    }

    /// Adds a segment, unless it says nothing or lasts no time.
    fn add<'a>(
        &mut self,
        (start, end): (usize, usize),
        said: impl Iterator<Item = (&'a TokenId, &'a f32)>,
        heard: Heard,
        special: &Tokens,
    ) {
        let (tokens, log_probabilities): (Vec<TokenId>, Vec<f32>) =
            said.filter(|&(&token, _)| token < special.end).unzip();
        if start < end && !tokens.is_empty() {
            let (start, end) = (self.seek + start, self.seek + end);
            let words = Vec::new();
            self.made.segments.push(Segment {
                start,
                end,
                tokens,
                log_probabilities,
                heard,
                words,
            });
        }
    }

    fn skip_silence(&mut self) {
        while let Some(window) = self.window() {
            let length = window.len();
            if window.iter().any(|sample| sample.abs() >= SILENCE) {
                break;
            }
            self.seek += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words below 8, times from 12 on, ten samples each; windows of 1000 samples.
    fn tokens() -> Tokens {
        Tokens {
            start: 9,
            end: 8,
            no_speech: 10,
            no_timestamps: 11,
            suppress: vec![],
            suppress_first: vec![],
            multilingual: None,
        }
    }

    fn recording(samples: usize) -> Recording {
        let (options, before) = (Options::default(), Arc::default());
        Recording { samples: vec![0.5; samples], options, before }
    }

    fn said(tokens: &[TokenId]) -> Decoded {
        Decoded {
            tokens: tokens.to_vec(),
            log_probabilities: (0_u8..).map(|at| -f32::from(at)).take(tokens.len()).collect(),
            log_probability: -0.1,
            no_speech: 0.25,
            language: None,
        }
    }

    const SIZES: Sizes = Sizes { window: 1000, time: 10 };

    fn segments(session: Session) -> Vec<(usize, usize, Vec<TokenId>)> {
        session.finish().segments.into_iter().map(|s| (s.start, s.end, s.tokens)).collect()
    }

    #[test]
    fn a_short_recording_is_one_window_and_one_segment() {
        let mut session = Session::new(recording(700), SIZES);
        assert!(!session.manner().timestamps);
        assert_eq!(session.window().unwrap().len(), 700);
        assert!(session.take(&said(&[1, 2]), "", &tokens()));
        assert_eq!(session.window(), None);
        assert!(!session.made.drawn);
        assert_eq!(segments(session), [(0, 700, vec![1, 2])]);
    }

    #[test]
    fn a_window_begins_where_the_last_one_was_understood() {
        let mut session = Session::new(recording(1500), SIZES);
        assert!(session.manner().timestamps);
        // 0 to 40, 50 to 80, and what began at 80 is heard again.
        assert!(session.take(&said(&[12, 1, 52, 62, 2, 92, 92, 3]), "", &tokens()));
        assert_eq!(session.window().unwrap().len(), 700);
        // One segment and a single time at the end: nothing comes after it.
        assert!(session.take(&said(&[12, 3, 22, 22, 4, 32]), "", &tokens()));
        assert_eq!(session.window(), None);
        let expected =
            [(0, 400, vec![1]), (500, 800, vec![2]), (800, 900, vec![3]), (900, 1000, vec![4])];
        assert_eq!(segments(session), expected);
    }

    #[test]
    fn a_segment_knows_its_window_and_its_tokens() {
        let mut session = Session::new(recording(1500), SIZES);
        session.take(&said(&[12, 1, 52, 62, 2, 92, 92, 3]), "b c d", &tokens());
        assert_eq!((session.latest().0.len(), session.latest().1), (2, 0));
        session.take(&said(&[12, 3, 22]), "d", &tokens());
        let (last, silent_since) = session.latest();
        assert_eq!((last.len(), last[0].heard.seek, silent_since), (1, 800, 800));
        assert_eq!(last[0].log_probabilities, [-1.0]);
        let heard = session.made.segments[1].heard;
        assert_eq!(session.made.segments[1].log_probabilities, [-4.0]);
        assert_eq!((heard.seek, heard.temperature, heard.no_speech), (0, 0.0, 0.25));
        assert!((heard.log_probability + 0.1).abs() < 1e-6 && heard.compression < 1.0);
    }

    #[test]
    fn a_window_without_pairs_is_one_segment_to_its_last_time() {
        let mut session = Session::new(recording(1500), SIZES);
        assert!(session.take(&said(&[12, 1, 42]), "", &tokens()));
        assert_eq!(session.window().unwrap().len(), 500);
        assert!(session.take(&said(&[12, 1]), "", &tokens()));
        assert_eq!(segments(session), [(0, 300, vec![1]), (1000, 1500, vec![1])]);
    }

    #[test]
    fn every_window_moves_on_whatever_was_said() {
        let mut session = Session::new(recording(1500), SIZES);
        assert!(session.take(&said(&[12, 12]), "", &tokens()));
        assert_eq!(session.window().unwrap().len(), 500);
    }

    #[test]
    fn silence_is_passed_over_and_guesses_are_tried_again() {
        let mut recording = recording(2500);
        recording.samples[..1000].fill(0.0);
        let mut session = Session::new(recording.clone(), SIZES);
        assert_eq!(session.seek, 1000);
        let guess = Decoded { log_probability: -3.0, no_speech: 0.0, ..said(&[1]) };
        assert!(!session.take(&guess, "", &tokens()));
        assert_eq!((session.seek, session.manner().temperature), (1000, 0.2));
        assert!(session.take(&Decoded { no_speech: 0.9, ..guess }, "", &tokens()));
        assert_eq!((session.seek, session.manner().temperature), (2000, 0.0));
        assert!(session.finish().drawn);
        recording.samples.fill(0.0);
        assert_eq!(Session::new(recording, SIZES).window(), None);
    }
}
