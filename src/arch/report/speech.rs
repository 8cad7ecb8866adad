//! Error rates of transcripts, and the utterances that were heard worst.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::arch::report::align::{Edits, Step, align, edits};

/// Utterances that are shown.
const WORST: usize = 10;

/// What was heard of one part of the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeechSplit {
    pub name: &'static str,
    pub utterances: u64,
    pub words: Edits,
    pub characters: Edits,
    /// Those with the most wrong words, the worst first; of equals the one with the most wrong characters,
    /// then the first. Those without an error are not among them.
    pub worst: Vec<Utterance>,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Utterance {
    /// As the list of the data names it.
    pub file: String,
    pub said: String,
    pub heard: String,
    pub words: Edits,
    pub characters: Edits,
    /// Word by word.
    pub alignment: Vec<Step>,
}

impl SpeechSplit {
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let (words, characters) = (Edits::default(), Edits::default());
        Self { name, utterances: 0, words, characters, worst: Vec::new() }
    }

    /// One recording: its file, what is said in it, and what was heard.
    pub fn add(&mut self, file: &str, said: &str, heard: &str) {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        let characters = edits(&letters(said), &letters(heard));
        let (spoken, got) = (split(said), split(heard));
        let words = edits(&spoken, &got);
        self.utterances += 1;
        self.words = self.words.plus(words);
        self.characters = self.characters.plus(characters);
        let wrong = (words.errors(), characters.errors());
        let at = self.worst.partition_point(|other| other.wrong() >= wrong);
        if wrong > (0, 0) && at < WORST {
            let (said, heard) = (said.to_owned(), heard.to_owned());
            let alignment = align(&spoken, &got);
            let file = file.to_owned();
            self.worst.insert(at, Utterance { file, said, heard, words, characters, alignment });
            self.worst.truncate(WORST);
        }
    }

    /// Adds `wer<suffix>` and `cer<suffix>`: errors over all words, and over all characters. Adds nothing where
    /// nothing was said.
    pub fn rates(&self, suffix: &str, metrics: &mut BTreeMap<String, f64>) {
        for (name, edits) in [("wer", self.words), ("cer", self.characters)] {
            if let Some(rate) = edits.rate() {
                metrics.insert(format!("{name}{suffix}"), rate);
            }
        }
    }
}

impl Utterance {
    fn wrong(&self) -> (u64, u64) {
        (self.words.errors(), self.characters.errors())
    }
}

fn split(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_all_words_together() {
        let mut split = SpeechSplit::new("test");
        split.add("1.wav", "one two three", "one two three");
        split.add("2.wav", "four", "for");
        let mut metrics = BTreeMap::new();
        split.rates("_real", &mut metrics);
        SpeechSplit::new("real").rates("", &mut metrics);
        // One of four words, one of 13 + 4 characters.
        let rate = |name: &str, rate: f64| (name.to_owned(), rate);
        assert_eq!(metrics, [rate("wer_real", 0.25), rate("cer_real", 1.0 / 17.0)].into());
        assert_eq!((split.utterances, split.words.substitutions), (2, 1));
    }

    #[test]
    fn the_ten_worst_are_kept_in_order() {
        let mut split = SpeechSplit::new("test");
        for index in 0..12 {
            split.add(&format!("one-{index}.wav"), "one two", "one tw");
        }
        split.add("right.wav", "one two", "one two");
        split.add("two.wav", "one two", "");
        split.add("far.wav", "one two", "one seven");
        let files: Vec<&str> = split.worst.iter().map(|worst| worst.file.as_str()).collect();
        assert_eq!(files[..3], ["two.wav", "far.wav", "one-0.wav"]);
        assert_eq!((files.len(), files[9]), (10, "one-7.wav"));
        assert_eq!(split.worst[0].alignment.len(), 2);
    }
}
