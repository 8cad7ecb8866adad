//! What was heard against what was said: the fewest substitutions, deletions and insertions
//! (Levenshtein 1966), and where they are.

use serde::Serialize;

use crate::arch::report::share;

/// Errors of what was heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Edits {
    /// Words or characters that were said.
    pub said: u64,
    pub substitutions: u64,
    pub deletions: u64,
    pub insertions: u64,
}

impl Edits {
    #[must_use]
    pub fn errors(self) -> u64 {
        self.substitutions + self.deletions + self.insertions
    }

    /// Errors over what was said. It can be above 1; it is `None` where nothing was said.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        share(self.errors(), self.said)
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            said: self.said + other.said,
            substitutions: self.substitutions + other.substitutions,
            deletions: self.deletions + other.deletions,
            insertions: self.insertions + other.insertions,
        }
    }

    fn after(self, kind: Kind) -> Self {
        let one = |of: Kind| u64::from(kind == of);
        Self {
            said: self.said + u64::from(kind != Kind::Insertion),
            substitutions: self.substitutions + one(Kind::Substitution),
            deletions: self.deletions + one(Kind::Deletion),
            insertions: self.insertions + one(Kind::Insertion),
        }
    }
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Same,
    Substitution,
    Deletion,
    Insertion,
}

/// One place of an alignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub kind: Kind,
    /// `None` for an insertion.
    pub said: Option<String>,
    /// `None` for a deletion.
    pub heard: Option<String>,
}

/// Counts the errors, in memory for one row of the table.
#[must_use]
pub fn edits<T: PartialEq>(said: &[T], heard: &[T]) -> Edits {
    table(said, heard, |_| ())
}

/// Puts two lists of words side by side, with as few errors as [`edits`] counts.
#[must_use]
pub fn align(said: &[&str], heard: &[&str]) -> Vec<Step> {
    let mut chosen = Vec::new();
    table(said, heard, |kind| chosen.push(kind));
    let (mut row, mut column) = (said.len(), heard.len());
    let mut steps = Vec::new();
    while row + column > 0 {
        let kind = match (row, column) {
            (0, _) => Kind::Insertion,
            (_, 0) => Kind::Deletion,
            _ => chosen[(row - 1) * heard.len() + column - 1],
        };
        row -= usize::from(kind != Kind::Insertion);
        column -= usize::from(kind != Kind::Deletion);
        let word = |words: &[&str], at: usize| words.get(at).map(|&word| word.to_owned());
        let said = if kind == Kind::Insertion { None } else { word(said, row) };
        let heard = if kind == Kind::Deletion { None } else { word(heard, column) };
        steps.push(Step { kind, said, heard });
    }
    steps.reverse();
    steps
}

/// Fills the table of distances row by row and tells the last step of the best way to each cell: of equally
/// good ones a substitution, then a deletion.
fn table<T: PartialEq>(said: &[T], heard: &[T], mut chose: impl FnMut(Kind)) -> Edits {
    let along = |edits: &Edits, _: &T| Some(edits.after(Kind::Insertion));
    let mut row = vec![Edits::default()];
    row.extend(heard.iter().scan(Edits::default(), |edits, word| {
        *edits = along(edits, word)?;
        Some(*edits)
    }));
    for said in said {
        let mut corner = row[0];
        row[0] = corner.after(Kind::Deletion);
        for (column, heard) in heard.iter().enumerate() {
            let across = if said == heard { Kind::Same } else { Kind::Substitution };
            let mut best = (across, corner.after(across));
            let others = [(Kind::Deletion, row[column + 1]), (Kind::Insertion, row[column])];
            for (kind, from) in others {
                let reached = from.after(kind);
                if reached.errors() < best.1.errors() {
                    best = (kind, reached);
                }
            }
            corner = row[column + 1];
            row[column + 1] = best.1;
            chose(best.0);
        }
    }
    row[heard.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    /// Said, substitutions, deletions, insertions.
    fn counted(said: &str, heard: &str) -> [u64; 4] {
        let edits = edits(&words(said), &words(heard));
        [edits.said, edits.substitutions, edits.deletions, edits.insertions]
    }

    #[test]
    fn each_kind_of_error_is_counted_apart() {
        assert_eq!(counted("one two three", "one two three"), [3, 0, 0, 0]);
        assert_eq!(counted("one two three", "one ten three"), [3, 1, 0, 0]);
        assert_eq!(counted("one two three", "one three"), [3, 0, 1, 0]);
        assert_eq!(counted("one two three", "one ten two three four"), [3, 0, 0, 2]);
        assert_eq!(counted("one two", ""), [2, 0, 2, 0]);
        assert_eq!(counted("", "one two"), [0, 0, 0, 2]);
        assert_eq!(counted("", ""), [0, 0, 0, 0]);
        // Of equal ways, two substitutions and not a deletion with an insertion.
        assert_eq!(counted("a b", "b c"), [2, 2, 0, 0]);
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        let edits = edits(&letters("sitting"), &letters("kitten"));
        assert_eq!((edits.substitutions, edits.deletions, edits.insertions), (2, 1, 0));
    }

    #[test]
    fn a_rate_is_of_what_was_said() {
        let edits = edits(&words("one"), &words("two three"));
        assert_eq!(edits.rate(), Some(2.0));
        assert_eq!(Edits::default().rate(), None);
        assert_eq!(edits.plus(super::edits(&words("one"), &words("one"))).rate(), Some(1.0));
    }

    #[test]
    fn an_alignment_says_where() {
        let marks = |said: &str, heard: &str| {
            let steps = align(&words(said), &words(heard));
            let mark = |step: &Step| {
                let word = |word: &Option<String>| word.clone().unwrap_or("*".to_owned());
                format!("{:?} {} {}", step.kind, word(&step.said), word(&step.heard))
            };
            steps.iter().map(mark).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            marks("one two three four", "one ten three four five"),
            "Same one one, Substitution two ten, Same three three, Same four four, Insertion * five"
        );
        assert_eq!(marks("a b c", "b c"), "Deletion a *, Same b b, Same c c");
        assert_eq!(marks("", "x"), "Insertion * x");
        assert_eq!(marks("x", ""), "Deletion x *");
    }

    proptest::proptest! {
        #[test]
        fn an_alignment_has_the_errors_that_are_counted(
            said in "[ab ]{0,12}", heard in "[abc ]{0,12}",
        ) {
            let (said, heard) = (words(&said), words(&heard));
            let steps = align(&said, &heard);
            let counted = steps.iter().fold(Edits::default(), |sum, step| sum.after(step.kind));
            proptest::prop_assert_eq!(counted, edits(&said, &heard));
            let of = |part: fn(&Step) -> Option<&String>| -> Vec<&str> {
                steps.iter().filter_map(part).map(String::as_str).collect()
            };
            proptest::prop_assert_eq!(of(|step| step.said.as_ref()), said);
            proptest::prop_assert_eq!(of(|step| step.heard.as_ref()), heard);
            let same = |step: &Step| (step.kind == Kind::Same) == (step.said == step.heard);
            proptest::prop_assert!(steps.iter().all(same));
        }
    }
}
