//! From log-probabilities to words: the class of each position on a path, repeats and blanks taken out.

use std::ops::Range;

use crate::arch::OpenError;
use crate::arch::transformer::compression;
use crate::arch::transformer::ctc::loss::BLANK;
use crate::arch::transformer::ctc::net::Frames;
use crate::domain::{Evidence, Segment, Word};

/// Where a package lists its characters: a JSON list of texts, class 1 first (class 0 is the blank).
pub const CHARACTERS_FILE: &str = "characters.json";

/// What the classes stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characters(Vec<char>);

impl Characters {
    /// Every character that occurs in `texts`.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let all: std::collections::BTreeSet<char> = texts.flat_map(str::chars).collect();
        Self(all.into_iter().collect())
    }

    /// # Errors
    /// [`OpenError::Config`] when the bytes are not a JSON list of different single characters.
    pub fn from_json(bytes: &[u8]) -> Result<Self, OpenError> {
        let refuse = |reason| OpenError::Config { section: CHARACTERS_FILE, reason };
        let list: Vec<char> =
            serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        let different: std::collections::BTreeSet<char> = list.iter().copied().collect();
        if list.is_empty() || different.len() < list.len() {
            return Err(refuse("expected a list of different characters".to_owned()));
        }
        Ok(Self(list))
    }

    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::json!(self.0).to_string().into_bytes()
    }

    /// Classes, the blank included.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.0.len() + 1
    }

    /// The classes of a text; `None` when it has a character that is not listed.
    #[must_use]
    pub fn encode(&self, text: &str) -> Option<Vec<usize>> {
        text.chars().map(|c| self.0.iter().position(|&k| k == c).map(|at| at + 1)).collect()
    }

    fn character(&self, class: usize) -> Option<char> {
        class.checked_sub(1).and_then(|at| self.0.get(at)).copied()
    }
}

/// One character that was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Heard {
    class: u32,
    character: char,
    /// Its first position, and the one after its last.
    from: usize,
    to: usize,
    /// The highest of its positions.
    log_probability: f32,
}

/// The likeliest class of each position: the path when characters may form any word.
#[must_use]
pub fn best(frames: &Frames) -> Vec<usize> {
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    frames.rows().map(|row| best(row).unwrap_or(BLANK)).collect()
}

/// When the positions of a window are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// When the first one begins, in seconds.
    pub start: f32,
    /// How long each lasts.
    pub step: f32,
    /// When the whole recording ends: nothing is later.
    pub end: f32,
}

impl Clock {
    /// To the millisecond: a position lasts tens of them.
    #[expect(clippy::cast_precision_loss, reason = "positions are far fewer than 2^24")]
    fn at(&self, position: usize) -> f32 {
        milliseconds((self.start + position as f32 * self.step).min(self.end))
    }

    /// Where the window begins, in hundredths of a second.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours at most")]
    fn seek(&self) -> u64 {
        (self.start * 100.0).round() as u64
    }

    /// How many positions last `seconds`, at least one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few at most")]
    fn positions(&self, seconds: f32) -> usize {
        (seconds / self.step).ceil().max(1.0) as usize
    }
}

pub fn milliseconds(seconds: f32) -> f32 {
    (seconds * 1e3).round() / 1e3
}

/// What one window says.
pub struct Said<'a> {
    frames: &'a Frames,
    heard: Vec<Heard>,
    clock: Clock,
}

impl<'a> Said<'a> {
    /// By the classes of `path`, one a position.
    pub fn new(frames: &'a Frames, path: &[usize], characters: &Characters, clock: Clock) -> Self {
        Self { frames, heard: heard(frames, path, characters), clock }
    }

    pub fn words(&self) -> Vec<Word> {
        spelled(&self.heard)
            .map(|letters| Word {
                word: letters.iter().map(|heard| heard.character).collect(),
                start: self.clock.at(letters[0].from),
                end: self.clock.at(letters[letters.len() - 1].to),
                confidence: mean(letters).exp().min(1.0),
            })
            .collect()
    }

    /// Words that no pause of `pause` seconds parts are one segment.
    pub fn segments(&self, pause: f32) -> Vec<Segment> {
        let stretches = stretches(&self.heard, self.clock.positions(pause));
        stretches.into_iter().map(|stretch| self.segment(stretch)).collect()
    }

    fn segment(&self, stretch: &[Heard]) -> Segment {
        let (from, to) = (stretch[0].from, stretch[stretch.len() - 1].to);
        let word = |letters: &[Heard]| letters.iter().map(|heard| heard.character).collect();
        let text = spelled(stretch).map(word).collect::<Vec<String>>().join(" ");
        let evidence = Evidence {
            seek: self.clock.seek(),
            tokens: stretch.iter().map(|heard| heard.class).collect(),
            temperature: 0.0,
            log_probability: mean(stretch),
            compression: compression::ratio(&text),
            no_speech: self.blank(from..to),
        };
        Segment { start: self.clock.at(from), end: self.clock.at(to), text, evidence }
    }

    /// The mean probability of the blank at some positions.
    #[expect(clippy::cast_precision_loss, reason = "positions are far fewer than 2^24")]
    fn blank(&self, positions: Range<usize>) -> f32 {
        let count = positions.len().max(1) as f32;
        let rows = self.frames.rows().take(positions.end).skip(positions.start);
        rows.map(|row| row[BLANK].exp()).sum::<f32>() / count
    }
}

/// The words among some characters.
fn spelled(heard: &[Heard]) -> impl Iterator<Item = &[Heard]> {
    heard.split(|heard| heard.character == ' ').filter(|letters| !letters.is_empty())
}

/// Characters from a word's first to a word's last, such that fewer than `pause` positions lie between two
/// words of one stretch.
fn stretches(heard: &[Heard], pause: usize) -> Vec<&[Heard]> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, letter) in heard.iter().enumerate().filter(|(_, letter)| letter.character != ' ') {
        let begins = at == 0 || heard[at - 1].character == ' ';
        match ranges.last_mut() {
            Some(range) if !begins || letter.from < heard[range.end - 1].to + pause => {
                range.end = at + 1;
            }
            _ => ranges.push(at..at + 1),
        }
    }
    ranges.into_iter().map(|range| &heard[range]).collect()
}

/// The mean log-probability of some characters.
#[expect(clippy::cast_precision_loss, reason = "characters are far fewer than 2^24")]
fn mean(heard: &[Heard]) -> f32 {
    heard.iter().map(|heard| heard.log_probability).sum::<f32>() / heard.len().max(1) as f32
}

/// The words as one text.
#[must_use]
pub fn text(words: &[Word]) -> String {
    words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ")
}

fn heard(frames: &Frames, path: &[usize], characters: &Characters) -> Vec<Heard> {
    let mut all: Vec<Heard> = Vec::new();
    let mut before = BLANK;
    for (at, (row, &class)) in frames.rows().zip(path).enumerate() {
        match (all.last_mut(), characters.character(class)) {
            (Some(last), Some(_)) if class == before => {
                last.to = at + 1;
                last.log_probability = last.log_probability.max(row[class]);
            }
            (_, Some(character)) => {
                let log_probability = row[class];
                // There are far fewer classes than characters in Unicode.
                let name = u32::try_from(class).unwrap_or(u32::MAX);
                all.push(Heard { class: name, character, from: at, to: at + 1, log_probability });
            }
            _ => {}
        }
        before = class;
    }
    all
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The text of a window on a path.
    pub fn read(frames: &Frames, path: &[usize], characters: &Characters) -> String {
        let clock = Clock { start: 0.0, step: 0.02, end: 99.0 };
        text(&Said::new(frames, path, characters, clock).words())
    }

    fn frames(best: &[usize]) -> Frames {
        let classes = 4;
        let mut log_probabilities = vec![-9.0; best.len() * classes];
        for (at, &class) in best.iter().enumerate() {
            log_probabilities[at * classes + class] = -0.1;
        }
        Frames { classes, log_probabilities }
    }

    #[test]
    fn repeats_fold_blanks_part_and_spaces_split() {
        let characters = Characters::of([" ab"].into_iter());
        // Blank a a blank a, space, b.
        let words = |said: &[usize], start| {
            let frames = frames(said);
            let clock = Clock { start, step: 0.5, end: 99.0 };
            Said::new(&frames, &best(&frames), &characters, clock).words()
        };
        let got = words(&[0, 2, 2, 0, 2, 1, 3], 1.0);
        assert_eq!(text(&got), "aa b");
        assert_eq!((got[0].start, got[0].end), (1.5, 3.5));
        assert_eq!((got[1].start, got[1].end), (4.0, 4.5));
        assert!((got[0].confidence - (-0.1_f32).exp()).abs() < 1e-6);
        assert!(words(&[0, 0, 1, 1], 0.0).is_empty());
        assert!(words(&[], 0.0).is_empty());
    }

    #[test]
    fn segments_are_parted_by_pauses_and_tell_what_they_rest_on() {
        let characters = Characters::of([" ab"].into_iter());
        // a, space, b; a space and two blanks; b, blank, blank, blank, a: one word however long it takes.
        let frames = frames(&[2, 1, 3, 1, 0, 0, 3, 0, 0, 0, 2]);
        let clock = Clock { start: 2.0, step: 0.5, end: 7.3 };
        let said = Said::new(&frames, &best(&frames), &characters, clock);
        let segments = said.segments(1.5);
        let times: Vec<(f32, f32)> = segments.iter().map(|s| (s.start, s.end)).collect();
        assert_eq!(times, [(2.0, 3.5), (5.0, 7.3)]);
        assert_eq!((segments[0].text.as_str(), segments[1].text.as_str()), ("a b", "ba"));
        let Evidence { seek, tokens, log_probability, no_speech, .. } = &segments[1].evidence;
        assert_eq!((*seek, tokens.as_slice()), (200, &[3, 2][..]));
        assert!((log_probability + 0.1).abs() < 1e-6);
        let blank = (3.0 * (-0.1_f32).exp() + 2.0 * (-9.0_f32).exp()) / 5.0;
        assert!((no_speech - blank).abs() < 1e-6, "{no_speech} {blank}");
        assert_eq!(said.segments(2.0).len(), 1);
        let words: Vec<String> = said.words().into_iter().map(|word| word.word).collect();
        assert_eq!(words, ["a", "b", "ba"]);
    }

    #[test]
    fn characters_read_back_and_refuse_what_they_lack() {
        let characters = Characters::of(["two one"].into_iter());
        assert_eq!(Characters::from_json(&characters.to_json()).unwrap(), characters);
        assert_eq!(characters.encode(" n"), Some(vec![1, 3]));
        assert_eq!(characters.encode("x"), None);
        assert!(Characters::from_json(br#"["a", "a"]"#).is_err());
        assert!(Characters::from_json(br#"["ab"]"#).is_err());
    }
}
