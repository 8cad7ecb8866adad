//! From the frames at which tokens begin to the times of words, and what is known to go wrong on the way: a word
//! beside a pause is heard all through it.

use crate::arch::transformer::whisper::align::Piece;
use crate::arch::transformer::whisper::recording::{Segment, Word};

/// No usual word lasts longer than this, in frames of 20 ms.
const USUAL_MAX: usize = 35;

/// Half a second, in frames: the most that a word may begin before its segment, or end after it.
const BEYOND: usize = 25;

/// After these a sentence ends, and a pause is likely.
const SENTENCE_ENDS: &str = ".。!！?？";

/// Where a window lies in its recording, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start: usize,
    pub length: usize,
    /// Samples a frame.
    pub frame: usize,
    /// Where the last words before the window ended.
    pub silent_since: usize,
}

/// A piece with its time, in frames.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Timed {
    piece: Piece,
    start: usize,
    end: usize,
}

impl Timed {
    fn frames(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Adds what goes on without a space. A mark at the end takes no time.
    fn add(&mut self, next: &Self) {
        if !next.piece.closes() {
            self.end = self.end.max(next.end);
        }
        self.piece.text.push_str(&next.piece.text);
        self.piece.tokens.end = next.piece.tokens.end;
    }
}

/// Gives the segments of one window their words. `onsets` are the frames at which the tokens of all segments
/// begin, and the end after them; `spaces` says whether the language has any between its words.
pub fn place(
    segments: &mut [Segment],
    pieces: Vec<Piece>,
    spaces: bool,
    onsets: &[usize],
    window: Window,
) {
    let onset = |at: usize| onsets.get(at).or(onsets.last()).copied().unwrap_or(0);
    let timed = |piece: Piece| {
        let (start, end) = (onset(piece.tokens.start), onset(piece.tokens.end));
        Timed { piece, start, end }
    };
    let mut timed: Vec<Timed> = pieces.into_iter().map(timed).collect();
    let usual = twice_usual(&timed);
    shorten(&mut timed, usual);
    let mut words = merge(timed, spaces).into_iter().peekable();
    let mut silent_since = window.silent_since;
    let mut end = 0;
    let chances: Vec<f32> =
        segments.iter().flat_map(|segment| &segment.log_probabilities).copied().collect();
    for segment in segments {
        end += segment.tokens.len();
        while let Some(word) = words.next_if(|word| word.piece.tokens.start < end) {
            segment.words.push(window.word(word, &chances));
        }
        bound(segment, usual * window.frame, BEYOND * window.frame, silent_since);
        silent_since = segment.words.last().map_or(silent_since, |word| word.end);
    }
}

/// Twice the median of what the words last that last at all.
fn twice_usual(words: &[Timed]) -> usize {
    let mut lengths: Vec<usize> =
        words.iter().map(Timed::frames).filter(|&frames| frames > 0).collect();
    lengths.sort_unstable();
    let Some(last) = lengths.len().checked_sub(1) else { return 0 };
    (lengths[last / 2] + lengths[lengths.len() / 2]).min(2 * USUAL_MAX)
}

/// A mark at the end of a sentence, and the word after it, are not as long as the pause between them.
fn shorten(words: &mut [Timed], most: usize) {
    let ends = |word: &Timed| SENTENCE_ENDS.contains(word.piece.text.as_str());
    for at in 1..words.len() {
        if words[at].frames() <= most {
            continue;
        }
        if ends(&words[at]) {
            words[at].end = words[at].start + most;
        } else if ends(&words[at - 1]) {
            words[at].start = words[at].end - most;
        }
    }
}

/// Gives marks to the words that they belong to, and where there are spaces between words, joins what no space
/// parts: a word with a hyphen is one.
fn merge(words: Vec<Timed>, spaces: bool) -> Vec<Timed> {
    let mut merged: Vec<Timed> = Vec::new();
    let mut opening: Option<Timed> = None;
    for mut word in words {
        let goes_on = word.piece.closes() || (spaces && !word.piece.text.starts_with(' '));
        match (opening.take(), merged.last_mut()) {
            (Some(mark), _) => {
                word.piece.text.insert_str(0, &mark.piece.text);
                word.piece.tokens.start = mark.piece.tokens.start;
            }
            (None, Some(last)) if goes_on => {
                last.add(&word);
                continue;
            }
            _ => {}
        }
        if word.piece.opens() {
            opening = Some(word);
        } else {
            merged.push(word);
        }
    }
    merged.extend(opening);
    merged
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "a word has few tokens")]
    fn word(&self, timed: Timed, log_probabilities: &[f32]) -> Word {
        let at = |frame: usize| self.start + (frame * self.frame).min(self.length);
        let tokens = log_probabilities.get(timed.piece.tokens.clone()).unwrap_or_default();
        let log_probability = tokens.iter().sum::<f32>() / tokens.len().max(1) as f32;
        let (start, end) = (at(timed.start), at(timed.end));
        Word { text: timed.piece.text, start, end: end.max(start), log_probability }
    }
}

/// Holds a segment's first and last words to its times, which tell better where a pause is. `most` is twice what
/// is usual.
fn bound(segment: &mut Segment, most: usize, beyond: usize, silent_since: usize) {
    let (start, end, usual) = (segment.start, segment.end, most / 2);
    after_pause(&mut segment.words, most, silent_since);
    if let Some(first) = segment.words.first_mut()
        && start < first.end
        && first.start + beyond < start
    {
        first.start = start.min(first.end.saturating_sub(usual)).max(first.start);
    }
    if let Some(last) = segment.words.last_mut()
        && end > last.start
        && end + beyond < last.end
    {
        last.end = end.max(last.start + usual).min(last.end);
    }
}

/// The first two words after a long pause are not much longer than others.
fn after_pause(words: &mut [Word], most: usize, silent_since: usize) {
    let [first, rest @ ..] = words else { return };
    let paused = first.end.saturating_sub(silent_since) > 2 * most;
    let two_long = rest.first().is_some_and(|second| second.end - first.start > 2 * most);
    if most == 0 || !paused || !(first.end - first.start > most || two_long) {
        return;
    }
    if let Some(second) = rest.first_mut()
        && second.end - second.start > most
    {
        second.start = second.end - most;
        first.end = second.start;
    }
    first.start = first.start.max(first.end.saturating_sub(most));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::transformer::whisper::recording::Heard;

    fn timed(words: &[(&str, usize, usize)]) -> Vec<Timed> {
        let words = words.iter().enumerate();
        words
            .map(|(at, &(text, start, end))| {
                let piece = Piece { text: text.to_owned(), tokens: at..at + 1 };
                Timed { piece, start, end }
            })
            .collect()
    }

    fn shown(words: &[Timed]) -> Vec<(&str, usize, usize)> {
        words.iter().map(|word| (word.piece.text.as_str(), word.start, word.end)).collect()
    }

    #[test]
    fn marks_go_to_their_words() {
        let words = timed(&[
            (" He", 0, 1),
            (" said", 1, 3),
            (",", 3, 4),
            (" \"", 4, 5),
            ("no", 5, 6),
            (".", 6, 7),
            ("\"", 7, 8),
        ]);
        let merged = merge(words, true);
        let expected = [(" He", 0, 1), (" said,", 1, 3), (" \"no.\"", 5, 6)];
        assert_eq!(shown(&merged), expected);
        assert_eq!(merged[2].piece.tokens, 3..7);
        assert_eq!(shown(&merge(timed(&[(".", 0, 1)]), true)), [(".", 0, 1)]);
        let hyphen = timed(&[(" cold", 0, 3), ("-hearted", 3, 6), (".", 6, 9)]);
        assert_eq!(shown(&merge(hyphen.clone(), true)), [(" cold-hearted.", 0, 6)]);
        assert_eq!(shown(&merge(hyphen, false)), [(" cold", 0, 3), ("-hearted.", 3, 6)]);
    }

    #[test]
    fn a_mark_that_opens_nothing_is_a_word_still() {
        assert_eq!(
            shown(&merge(timed(&[(" a", 0, 1), (" -", 1, 2)]), true)),
            [(" a", 0, 1), (" -", 1, 2)]
        );
    }

    #[test]
    fn pauses_belong_to_no_word() {
        let mut words = timed(&[
            (" a", 0, 10),
            (".", 10, 90),
            (" b", 90, 100),
            ("!", 100, 101),
            (" c", 101, 200),
        ]);
        assert_eq!(twice_usual(&words), 20);
        shorten(&mut words, 20);
        let expected =
            [(" a", 0, 10), (".", 10, 30), (" b", 90, 100), ("!", 100, 101), (" c", 180, 200)];
        assert_eq!(shown(&words), expected);
        assert_eq!(twice_usual(&[]), 0);
        assert_eq!(twice_usual(&timed(&[("a", 0, 500)])), 70);
    }

    fn segment(start: usize, end: usize, tokens: usize) -> Segment {
        Segment {
            start,
            end,
            tokens: vec![1; tokens],
            log_probabilities: vec![-0.5; tokens],
            heard: Heard::default(),
            words: Vec::new(),
        }
    }

    #[test]
    fn words_go_to_their_segments_and_lie_in_the_window() {
        let mut segments = [segment(1000, 1300, 2), segment(1300, 1900, 2)];
        let pieces = [" a", "b", " c"].into_iter().zip([0..1, 1..2, 2..4]);
        let pieces = pieces.map(|(text, tokens)| Piece { text: text.to_owned(), tokens }).collect();
        let window = Window { start: 1000, length: 950, frame: 10, silent_since: 990 };
        place(&mut segments, pieces, false, &[0, 10, 30, 50, 99], window);
        let words: Vec<(&str, usize, usize)> = segments
            .iter()
            .flat_map(|segment| &segment.words)
            .map(|word| (word.text.as_str(), word.start, word.end))
            .collect();
        assert_eq!(words, [(" a", 1000, 1100), ("b", 1100, 1300), (" c", 1300, 1950)]);
        assert_eq!((segments[0].words.len(), segments[1].words.len()), (2, 1));
        assert!((segments[1].words[0].log_probability + 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_first_word_does_not_begin_in_the_pause_before_its_segment() {
        let word = |start, end| Word { text: " a".to_owned(), start, end, log_probability: 0.0 };
        let mut said = segment(1000, 1400, 2);
        said.words = vec![word(100, 1100), word(1100, 2100)];
        bound(&mut said, 200, 250, 0);
        // The first is as long as twice the usual at most, and so is the second.
        assert_eq!((said.words[0].start, said.words[0].end), (1700, 1900));
        let mut said = segment(1000, 1400, 1);
        said.words = vec![word(600, 1200)];
        bound(&mut said, 400, 250, 600);
        assert_eq!((said.words[0].start, said.words[0].end), (1000, 1200));
        let mut said = segment(1000, 1400, 1);
        said.words = vec![word(1000, 1900)];
        bound(&mut said, 2000, 250, 900);
        assert_eq!((said.words[0].start, said.words[0].end), (1000, 1900));
        bound(&mut said, 400, 250, 1900);
        assert_eq!((said.words[0].start, said.words[0].end), (1000, 1400));
    }
}
