//! The report as text.

use std::fmt::Write;

use crate::arch::report::{
    ClassScore, ClassificationDetail, Detail, Edits, Kind, LanguageDetail, SpeechSplit, Step,
    Utterance,
};
use crate::cli::eval::Report;

/// A table of more classes shows these many, the worst.
const CLASSES_SHOWN: usize = 20;

/// A matrix of more classes is no longer read; `--report` draws it.
const MATRIX_MAX: usize = 12;

/// Characters of a class's name.
const NAME_MAX: usize = 24;

pub fn text(report: &Report) -> String {
    let evaluation = &report.evaluation;
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{} ({}): {}", report.package, report.task, evaluation.data_description);
    let _ = writeln!(text, "package {}", evaluation.package_digest);
    let _ = writeln!(text, "data    {}\n", evaluation.data_digest);
    let width = evaluation.metrics.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in &evaluation.metrics {
        let _ = writeln!(text, "{name:width$}  {value:.4}");
    }
    let _ = match &report.detail {
        Detail::Classification(detail) => classification(&mut text, detail),
        Detail::Language(detail) => language(&mut text, *detail),
        Detail::Speech { splits } => splits.iter().try_for_each(|split| speech(&mut text, split)),
    };
    text
}

fn classification(text: &mut String, detail: &ClassificationDetail) -> std::fmt::Result {
    let mut classes: Vec<&ClassScore> = detail.classes.iter().collect();
    if classes.len() > CLASSES_SHOWN {
        // What never occurs has no figure to be bad at.
        classes.retain(|class| class.f1.is_some());
        classes.sort_by(|a, b| a.f1.unwrap_or(0.0).total_cmp(&b.f1.unwrap_or(0.0)));
        classes.truncate(CLASSES_SHOWN);
        writeln!(text, "\nthe {} worst of {} classes", classes.len(), detail.classes.len())?;
    }
    let names: Vec<String> = classes.iter().map(|class| short(&class.label)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("class".len());
    writeln!(text, "\n{:width$}  precision  recall      f1  support", "class")?;
    for (class, name) in classes.iter().zip(&names) {
        let figure = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
        let (precision, recall) = (figure(class.precision), figure(class.recall));
        let (f1, support) = (figure(class.f1), class.support);
        writeln!(text, "{name:width$}  {precision:>9}  {recall:>6}  {f1:>6}  {support:>7}")?;
    }
    match &detail.confusion {
        Some(rows) if rows.len() <= MATRIX_MAX => matrix(text, &names, rows),
        _ => Ok(()),
    }
}

/// Rows are what it is, columns what was answered, by number.
fn matrix(text: &mut String, names: &[String], rows: &[Vec<u64>]) -> std::fmt::Result {
    let most = rows.iter().flatten().max().copied().unwrap_or(0);
    let width = most.to_string().len().max(names.len().saturating_sub(1).to_string().len()) + 1;
    let label = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    writeln!(text, "\nconfusion: a row for what it is, a column for what was answered")?;
    write!(text, "{:1$}", "", label + 4)?;
    (0..rows.len()).try_for_each(|column| write!(text, "{column:>width$}"))?;
    for (index, (name, row)) in names.iter().zip(rows).enumerate() {
        write!(text, "\n{index:>3} {name:label$}")?;
        for &count in row {
            let count = if count == 0 { "·".to_owned() } else { count.to_string() };
            write!(text, "{count:>width$}")?;
        }
    }
    writeln!(text)
}

fn language(text: &mut String, detail: LanguageDetail) -> std::fmt::Result {
    let LanguageDetail { tokens, tokens_scored, characters } = detail;
    writeln!(text, "\n{tokens} tokens, of which {tokens_scored} scored; {characters} characters")
}

fn speech(text: &mut String, split: &SpeechSplit) -> std::fmt::Result {
    writeln!(text, "\n{}: {} utterances", split.name, split.utterances)?;
    writeln!(
        text,
        "{:12}  {:>6}  {:>7}  {:>13}  {:>9}  {:>10}",
        "", "errors", "of", "substitutions", "deletions", "insertions"
    )?;
    for (name, edits) in [("words", split.words), ("characters", split.characters)] {
        let Edits { said, substitutions, deletions, insertions } = edits;
        let rate = edits.rate().map_or("-".to_owned(), |rate| format!("{:.2} %", rate * 100.0));
        writeln!(
            text,
            "{name:12}  {rate:>6}  {said:>7}  {substitutions:>13}  {deletions:>9}  {insertions:>10}"
        )?;
    }
    if !split.worst.is_empty() {
        writeln!(
            text,
            "\n{}: the worst, with substitutions (S), deletions (D) and insertions (I)",
            split.name
        )?;
    }
    split.worst.iter().try_for_each(|utterance| worst(text, utterance))
}

/// What was said above what was heard, each word in a column, and a mark below each error.
fn worst(text: &mut String, utterance: &Utterance) -> std::fmt::Result {
    let words = utterance.words;
    let (errors, said) = (words.errors(), words.said);
    let s = |count| if count == 1 { "" } else { "s" };
    let (file, of) = (&utterance.file, s(said));
    writeln!(text, "{file}: {errors} error{} in {said} word{of}", s(errors))?;
    let mut lines = ["  said ".to_owned(), "  heard".to_owned(), "       ".to_owned()];
    for Step { kind, said, heard } in &utterance.alignment {
        let mark = match kind {
            Kind::Same => "",
            Kind::Substitution => "S",
            Kind::Deletion => "D",
            Kind::Insertion => "I",
        };
        let gap = || "*".repeat(said.as_deref().or(heard.as_deref()).unwrap_or("").chars().count());
        let words =
            [said.clone().unwrap_or_else(gap), heard.clone().unwrap_or_else(gap), mark.to_owned()];
        let width = words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
        for (line, word) in lines.iter_mut().zip(&words) {
            write!(line, " {word:width$}")?;
        }
    }
    lines
        .iter()
        .map(|line| line.trim_end())
        .filter(|line| !line.is_empty())
        .try_for_each(|line| writeln!(text, "{line}"))
}

/// A name that fits the table, without what would move the cursor.
fn short(name: &str) -> String {
    let mut characters = name.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = characters.by_ref().take(NAME_MAX).collect();
    if characters.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::report::Classification;
    use crate::domain::Digest;
    use crate::state::Evaluation;
    use std::collections::BTreeMap;

    fn shown(metrics: BTreeMap<String, f64>, detail: Detail) -> String {
        let evaluation = Evaluation {
            package_digest: Digest::new([1; 32]),
            data_digest: Digest::new([2; 32]),
            data_description: "some data".to_owned(),
            metrics,
            evaluated_at: "2026-11-24T08:00:00Z".to_owned(),
        };
        text(&Report {
            package: "tiny/1".to_owned(),
            task: "a task".to_owned(),
            evaluation,
            detail,
        })
    }

    #[test]
    fn classes_have_a_table_and_a_matrix() {
        let labels = ["cat", "a dog of a very long name indeed"].map(str::to_owned);
        let mut scored = Classification::new(labels.into());
        for (scores, label) in [([0.75, 0.25], 0), ([0.75, 0.25], 1), ([0.25, 0.75], 1)] {
            scored.add(&scores, label).unwrap();
        }
        let detail = Detail::Classification(scored.detail());
        let shown = shown(scored.metrics(), detail);
        assert!(shown.starts_with("tiny/1 (a task): some data\npackage 0101"), "{shown}");
        assert!(shown.contains("accuracy                    0.6667\n"), "{shown}");
        let table = "\
class                     precision  recall      f1  support
cat                           0.500   1.000   0.667        1
a dog of a very long na…      1.000   0.500   0.667        2

confusion: a row for what it is, a column for what was answered
                             0 1
  0 cat                      1 ·
  1 a dog of a very long na… 1 1
";
        assert!(shown.ends_with(table), "{shown}");
    }

    #[test]
    fn of_many_classes_the_worst_are_shown() {
        let mut tally =
            Classification::new((0..40).map(|class| format!("class {class}")).collect());
        for class in 0..30 {
            let mut scores = [0.0; 40];
            scores[class.max(1)] = 1.0;
            tally.add(&scores, class).unwrap();
        }
        let shown = shown(tally.metrics(), Detail::Classification(tally.detail()));
        assert!(shown.contains("the 20 worst of 40 classes\n"), "{shown}");
        let worst =
            "support\nclass 0           -   0.000   0.000        1\nclass 1       0.500   1.000";
        assert!(shown.contains(worst), "{shown}");
        assert!(!shown.contains("class 39") && !shown.contains("confusion"), "{shown}");
    }

    #[test]
    fn the_worst_utterances_are_aligned() {
        let mut split = SpeechSplit::new("test");
        split.add("a/1.wav", "one two four", "one seven four five");
        split.add("a/2.wav", "one two", "two");
        let shown = shown(BTreeMap::new(), Detail::Speech { splits: vec![split] });
        let worst = "
test: 2 utterances
              errors       of  substitutions  deletions  insertions
words         60.00 %        5              1          1           1
";
        assert!(shown.contains(worst), "{shown}");
        let aligned = "
a/1.wav: 2 errors in 3 words
  said  one two   four ****
  heard one seven four five
            S          I
a/2.wav: 1 error in 2 words
  said  one two
  heard *** two
        D
";
        assert!(shown.ends_with(aligned), "{shown}");
    }

    #[test]
    fn a_text_says_how_long_it_is() {
        let detail = LanguageDetail { tokens: 10, tokens_scored: 9, characters: 30 };
        let shown =
            shown(BTreeMap::from([("perplexity".to_owned(), 2.5)]), Detail::Language(detail));
        let end = "perplexity  2.5000\n\n10 tokens, of which 9 scored; 30 characters\n";
        assert!(shown.ends_with(end), "{shown}");
    }
}
