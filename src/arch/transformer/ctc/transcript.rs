//! From log-probabilities to words: the class of each position on a path, repeats and blanks taken out.

use crate::arch::OpenError;
use crate::arch::transformer::ctc::loss::BLANK;
use crate::arch::transformer::ctc::net::Frames;
use crate::domain::Word;

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

/// The words that `frames` say on `path`; a position lasts `seconds`, and the first begins at `start`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "positions are far fewer than 2^24")]
pub fn words(
    frames: &Frames,
    path: &[usize],
    characters: &Characters,
    start: f32,
    seconds: f32,
) -> Vec<Word> {
    heard(frames, path, characters)
        .split(|heard| heard.character == ' ')
        .filter_map(|letters| {
            let (first, last) = (letters.first()?, letters.last()?);
            let sum: f32 = letters.iter().map(|heard| heard.log_probability).sum();
            Some(Word {
                word: letters.iter().map(|heard| heard.character).collect(),
                start: start + first.from as f32 * seconds,
                end: start + last.to as f32 * seconds,
                confidence: (sum / letters.len() as f32).exp().min(1.0),
            })
        })
        .collect()
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
                all.push(Heard { character, from: at, to: at + 1, log_probability });
            }
            _ => {}
        }
        before = class;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

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
            super::words(&frames, &best(&frames), &characters, start, 0.5)
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
    fn characters_read_back_and_refuse_what_they_lack() {
        let characters = Characters::of(["two one"].into_iter());
        assert_eq!(Characters::from_json(&characters.to_json()).unwrap(), characters);
        assert_eq!(characters.encode(" n"), Some(vec![1, 3]));
        assert_eq!(characters.encode("x"), None);
        assert!(Characters::from_json(br#"["a", "a"]"#).is_err());
        assert!(Characters::from_json(br#"["ab"]"#).is_err());
    }
}
