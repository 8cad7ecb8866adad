//! Parameters of one request. A codec reads the ones it honours; what is left over is refused.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::domain::{Fault, Kind, Problem};

/// One parameter as it came: from the query it is always text.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    Text(String),
    Number(f64),
    Bool(bool),
    List(Vec<String>),
    /// An object of numbers, in its order; no name occurs twice.
    Numbers(Vec<(String, f64)>),
}

/// Parameters by name, each with the JSON pointer that an error names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    values: BTreeMap<String, (ParamValue, String)>,
}

impl Params {
    /// Adds one. `false` when the name is taken already: a parameter given twice is a fault of the caller.
    pub fn insert(&mut self, name: &str, value: ParamValue, pointer: String) -> bool {
        self.values.insert(name.to_owned(), (value, pointer)).is_none()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes out those of these names: they are somebody else's to read.
    #[must_use]
    pub fn split_off(&mut self, names: &[&str]) -> Self {
        let mut values = BTreeMap::new();
        for name in names {
            values.extend(self.values.remove_entry(*name));
        }
        Self { values }
    }

    /// Refuses these: whoever asks could not be shown what they bring.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for the first of them that is there.
    pub fn refuse(&self, names: &[&str], hint: &str) -> Result<(), Problem> {
        let found = names.iter().find_map(|&name| Some((name, self.pointer(name)?)));
        found.map_or(Ok(()), |(name, pointer)| {
            let expected = "only what this protocol can answer";
            Err(Problem::fault(Kind::Unsupported, pointer, expected, name, hint))
        })
    }

    /// Where one came from, as an error names it.
    #[must_use]
    pub fn pointer(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, pointer)| pointer.as_str())
    }

    /// Starts reading. Every fault is collected and reported at [`Reader::finish`].
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { params: self, known: Vec::new(), faults: Vec::new() }
    }
}

/// 2^53 - 1.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Reads parameters by name and type, remembers which were asked for and what was wrong.
#[derive(Debug)]
pub struct Reader<'a> {
    params: &'a Params,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// An integer within `range`.
    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        self.read(name, expected, |value| match value {
            // Up to here f64 holds every integer exactly.
            ParamValue::Number(n) if n.fract() == 0.0 && (0.0..=INTEGER_MAX).contains(n) =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked above"
                )]
                Some(*n as u64)
            }
            ParamValue::Text(text) => u64::from_str(text).ok(),
            _ => None,
        })
        .filter(|n| self.within(name, n, &range, expected))
    }

    /// A finite number within `range`.
    pub fn number(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = || format!("a number from {} to {}", range.start(), range.end());
        self.read(name, expected, |value| match value {
            ParamValue::Number(n) => Some(*n),
            ParamValue::Text(text) => f64::from_str(text).ok().filter(|n| n.is_finite()),
            _ => None,
        })
        .filter(|n| self.within(name, n, &range, expected))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let expected = || "true or false".to_owned();
        self.read(name, expected, |value| match value {
            ParamValue::Bool(flag) => Some(*flag),
            ParamValue::Text(text) => bool::from_str(text).ok(),
            _ => None,
        })
    }

    /// One of the texts that there are.
    pub fn choice<'c>(&mut self, name: &'static str, choices: &[&'c str]) -> Option<&'c str> {
        let expected = || format!("one of: {}", choices.join(", "));
        self.read(name, expected, |value| match value {
            ParamValue::Text(text) => choices.iter().copied().find(|choice| choice == text),
            _ => None,
        })
    }

    /// One text, or a list of at most `most` texts, each of 1 to `bytes_max` bytes.
    pub fn texts(
        &mut self,
        name: &'static str,
        most: usize,
        bytes_max: usize,
    ) -> Option<Vec<String>> {
        let expected =
            || format!("a text or a list of at most {most} texts, each of 1 to {bytes_max} bytes");
        self.read(name, expected, |value| {
            let texts = match value {
                ParamValue::Text(text) => vec![text.clone()],
                ParamValue::List(texts) => texts.clone(),
                _ => return None,
            };
            (texts.len() <= most && texts.iter().all(|t| (1..=bytes_max).contains(&t.len())))
                .then_some(texts)
        })
    }

    /// At most `most` numbers within `range`, by token ids that are below `vocabulary`.
    pub fn by_token(
        &mut self,
        name: &'static str,
        most: usize,
        range: RangeInclusive<f64>,
        vocabulary: usize,
    ) -> Option<Vec<(u32, f64)>> {
        let (low, high) = (range.start(), range.end());
        let expected = || {
            let last = vocabulary.saturating_sub(1);
            format!(
                "an object of at most {most} token ids from 0 to {last}, each with a number from {low} to {high}"
            )
        };
        let known = |id: &str| {
            let digits = id.bytes().all(|byte| byte.is_ascii_digit());
            id.parse().ok().filter(|&id: &u32| digits && (id as usize) < vocabulary)
        };
        self.read(name, expected, |value| match value {
            ParamValue::Numbers(pairs) if pairs.len() <= most => pairs
                .iter()
                .map(|(id, number)| Some((known(id)?, *number)))
                .collect::<Option<Vec<_>>>()
                .filter(|pairs| pairs.iter().all(|(_, number)| range.contains(number))),
            _ => None,
        })
    }

    /// Refuses what nobody asked for.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] with every fault found since [`Params::reader`].
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, (_, pointer)) in &self.params.values {
            if !self.known.contains(&name.as_str()) {
                self.faults.push(Fault {
                    pointer: pointer.clone(),
                    expected: if self.known.is_empty() {
                        "no parameters".to_owned()
                    } else {
                        format!("one of: {}", self.known.join(", "))
                    },
                    got: clip(name),
                    hint: "remove it: this model does not honour it".to_owned(),
                });
            }
        }
        let Some(first) = self.faults.first() else { return Ok(()) };
        let detail = format!("{}: expected {}, got {}", first.pointer, first.expected, first.got);
        Err(Problem { faults: self.faults, ..Problem::new(Kind::InvalidInput, detail) })
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        expected: impl Fn() -> String,
        parse: impl Fn(&ParamValue) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let (value, _) = self.params.values.get(name)?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.fault(name, expected());
        }
        parsed
    }

    fn within<T: PartialOrd + Display>(
        &mut self,
        name: &'static str,
        value: &T,
        range: &RangeInclusive<T>,
        expected: impl Fn() -> String,
    ) -> bool {
        let inside = range.contains(value);
        if !inside {
            self.fault(name, expected());
        }
        inside
    }

    fn fault(&mut self, name: &'static str, expected: String) {
        let Some((value, pointer)) = self.params.values.get(name) else { return };
        let got = match value {
            ParamValue::Text(text) => format!("{:?}", clip(text)),
            ParamValue::Number(n) => n.to_string(),
            ParamValue::Bool(flag) => flag.to_string(),
            ParamValue::List(items) => format!("a list of {}", items.len()),
            ParamValue::Numbers(pairs) => format!("an object of {}", pairs.len()),
        };
        self.faults.push(Fault {
            pointer: pointer.clone(),
            expected,
            got,
            hint: format!("give `{name}` a value of that kind, or leave it out"),
        });
    }
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, ParamValue)]) -> Params {
        let mut params = Params::default();
        for (name, value) in pairs {
            assert!(params.insert(name, value.clone(), format!("/parameters/{name}")));
        }
        params
    }

    #[test]
    fn text_and_typed_values_read_alike() {
        for value in [ParamValue::Text("3".into()), ParamValue::Number(3.0)] {
            let params = params(&[("top_k", value)]);
            let mut reader = params.reader();
            assert_eq!(reader.integer("top_k", 1..=10), Some(3));
            reader.finish().unwrap();
        }
    }

    #[test]
    fn integers_are_read_as_far_as_a_number_holds_them_exactly() {
        let most = (1_u64 << 53) - 1;
        let read = |value: f64| {
            let params = params(&[("seed", ParamValue::Number(value))]);
            params.reader().integer("seed", 0..=u64::MAX)
        };
        assert_eq!(read(INTEGER_MAX), Some(most));
        for no in [INTEGER_MAX + 1.0, -1.0, 0.5] {
            assert_eq!(read(no), None, "{no}");
        }
    }

    #[test]
    fn a_choice_is_one_of_the_texts_there_are() {
        let params = params(&[("task", ParamValue::Text("sing".into()))]);
        let mut reader = params.reader();
        assert_eq!(reader.choice("task", &["sing", "dance"]), Some("sing"));
        assert_eq!(reader.choice("task", &["dance", "walk"]), None);
        assert_eq!(reader.finish().unwrap_err().faults[0].expected, "one of: dance, walk");
        assert_eq!(params.pointer("task"), Some("/parameters/task"));
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let params = params(&[
            ("top_k", ParamValue::Number(0.0)),
            ("temperature", ParamValue::Text("NaN".into())),
            ("colour", ParamValue::Bool(true)),
        ]);
        let mut reader = params.reader();
        assert_eq!(reader.integer("top_k", 1..=10), None);
        assert_eq!(reader.number("temperature", 0.0..=2.0), None);
        let problem = reader.finish().unwrap_err();
        let pointers: Vec<_> = problem.faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/parameters/top_k", "/parameters/temperature", "/parameters/colour"]
        );
        assert!(problem.faults[2].expected.contains("top_k, temperature"));
    }
}
