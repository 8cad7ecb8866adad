//! Decoding through a list of words: the likeliest path of a CTC network (Viterbi) among those whose
//! characters form these words, one space between two. A network that learned few words then cannot
//! misspell them.

use crate::arch::OpenError;
use crate::arch::transformer::ctc::loss::BLANK;
use crate::arch::transformer::ctc::net::Frames;
use crate::arch::transformer::ctc::transcript::Characters;

/// States that belong to no word: the blank before all, the space, and the blank after it.
const START: usize = 0;
const SPACE: usize = 1;
const AFTER_SPACE: usize = 2;

/// Words as a graph over CTC's classes. Each character has two states: itself, and the blank after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexicon {
    states: Vec<State>,
    /// States in which a text may end.
    ends: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    class: usize,
    /// States of the position before that lead here.
    from: Vec<usize>,
    /// Whether a text may begin here.
    first: bool,
}

impl Lexicon {
    /// The graph of `words`.
    ///
    /// # Errors
    /// [`OpenError::Config`] when a word is empty or holds a character, or a space is needed, that the
    /// network does not know.
    pub fn new(words: &[String], characters: &Characters) -> Result<Self, OpenError> {
        let refuse = |word: &str| OpenError::Config {
            section: "architecture.config.words",
            reason: format!("{word:?} is not made of the network's characters"),
        };
        let classes = |word: &str| characters.encode(word).filter(|classes| !classes.is_empty());
        let space = classes(" ").ok_or_else(|| refuse(" "))?[0];
        let mut graph = Self {
            states: vec![
                State { class: BLANK, from: vec![START], first: true },
                State { class: space, from: vec![SPACE], first: false },
                State { class: BLANK, from: vec![SPACE, AFTER_SPACE], first: false },
            ],
            ends: vec![START, SPACE, AFTER_SPACE],
        };
        for word in words {
            let spelled = classes(word).filter(|classes| !classes.contains(&space));
            graph.add(&spelled.ok_or_else(|| refuse(word))?);
        }
        Ok(graph)
    }

    fn add(&mut self, classes: &[usize]) {
        let begin = self.states.len();
        for (index, &class) in classes.iter().enumerate() {
            let this = begin + 2 * index;
            let mut from = vec![this];
            match index.checked_sub(1) {
                None => from.extend([START, SPACE, AFTER_SPACE]),
                Some(before) => {
                    from.push(this - 1);
                    // The same character twice needs a blank between.
                    if classes[before] != class {
                        from.push(this - 2);
                    }
                }
            }
            self.states.push(State { class, from, first: index == 0 });
            self.states.push(State { class: BLANK, from: vec![this, this + 1], first: false });
        }
        let last = self.states.len() - 2;
        self.states[SPACE].from.extend([last, last + 1]);
        self.ends.extend([last, last + 1]);
    }

    /// The class of each position on the likeliest path.
    #[must_use]
    pub fn path(&self, frames: &Frames) -> Vec<usize> {
        let mut scores: Vec<f32> = Vec::new();
        let mut came_from: Vec<Vec<usize>> = Vec::new();
        for row in frames.rows() {
            let best = |state: &State| {
                let scores = scores.as_slice();
                let from = state.from.iter().copied();
                from.max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(START)
            };
            let chosen: Vec<usize> = if scores.is_empty() {
                (0..self.states.len()).collect()
            } else {
                self.states.iter().map(best).collect()
            };
            let score = |(state, &from): (&State, &usize)| {
                let before = match scores.get(from) {
                    Some(score) => *score,
                    None if state.first => 0.0,
                    None => f32::NEG_INFINITY,
                };
                before + row[state.class]
            };
            scores = self.states.iter().zip(&chosen).map(score).collect();
            came_from.push(chosen);
        }
        self.trace(&scores, &came_from)
    }

    fn trace(&self, scores: &[f32], came_from: &[Vec<usize>]) -> Vec<usize> {
        let ends = self.ends.iter().copied().filter(|&state| state < scores.len());
        let Some(mut state) = ends.max_by(|&a, &b| scores[a].total_cmp(&scores[b])) else {
            return Vec::new();
        };
        let mut path = Vec::with_capacity(came_from.len());
        for chosen in came_from.iter().rev() {
            path.push(self.states[state].class);
            state = chosen[state];
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::transformer::ctc::transcript::tests::read;

    /// Classes: 1 space, 2 a, 3 b.
    fn characters() -> Characters {
        Characters::of([" ab"].into_iter())
    }

    fn lexicon(words: &[&str]) -> Result<Lexicon, OpenError> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Lexicon::new(&words, &characters())
    }

    /// Each position says its class, and a little of the second one.
    fn frames(said: &[(usize, usize)]) -> Frames {
        let mut log_probabilities = vec![-9.0; said.len() * 4];
        for (at, &(class, other)) in said.iter().enumerate() {
            log_probabilities[at * 4 + other] = -2.0;
            log_probabilities[at * 4 + class] = -0.2;
        }
        Frames { classes: 4, log_probabilities }
    }

    fn heard(lexicon: &Lexicon, frames: &Frames) -> String {
        read(frames, &lexicon.path(frames), &characters())
    }

    #[test]
    fn what_the_network_misspells_becomes_the_nearest_word() {
        let lexicon = lexicon(&["ab", "ba"]).unwrap();
        // It says "aa ba": the second letter would rather be an a, but no word is spelled so.
        let said = frames(&[(2, 0), (0, 0), (2, 3), (1, 0), (3, 0), (2, 0)]);
        assert_eq!(heard(&lexicon, &said), "ab ba");
    }

    #[test]
    fn silence_is_no_word_and_a_repeat_needs_a_blank() {
        let lexicon = lexicon(&["aa"]).unwrap();
        assert_eq!(heard(&lexicon, &frames(&[(0, 0); 5])), "");
        assert_eq!(heard(&lexicon, &frames(&[])), "");
        assert_eq!(heard(&lexicon, &frames(&[(2, 0), (2, 0), (2, 0)])), "aa");
        assert_eq!(lexicon.path(&frames(&[(2, 0), (2, 0), (2, 0)])), [2, 0, 2]);
    }

    #[test]
    fn words_of_other_characters_are_refused() {
        for bad in ["", "abc", "a b"] {
            assert!(lexicon(&["ab", bad]).is_err(), "{bad:?}");
        }
    }
}
