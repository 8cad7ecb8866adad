//! The names that a checkpoint has for our tensors, as a table that people can read.
//!
//! ```toml
//! [tensors.prefixes]               # a layer of ours = its module in the checkpoint
//! "layers.0" = "_conv_stem"
//! "layers.4" = "_blocks.1"
//!
//! [tensors.parts]                  # inside such a layer: a part of ours = its module inside theirs
//! expand = "_expand_conv"
//! expand_norm = "_bn0"
//! ```
//!
//! `layers.4.expand_norm.running_mean` is then `_blocks.1._bn0.running_mean` there. The longest prefix
//! counts, and whole words only; a tensor that no prefix fits has the same name in both.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A recipe's `[tensors]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    prefixes: BTreeMap<String, String>,
    parts: BTreeMap<String, String>,
}

impl Names {
    /// The checkpoint's name of the tensor that we call `ours`.
    #[must_use]
    pub fn theirs(&self, ours: &str) -> String {
        let Some((prefix, rest)) = longest(&self.prefixes, ours) else { return ours.to_owned() };
        match longest(&self.parts, rest) {
            Some((part, rest)) => join(&[prefix, part, rest]),
            None => join(&[prefix, rest]),
        }
    }
}

/// What the longest key that begins `name` stands for, and what comes after the key.
fn longest<'a>(table: &'a BTreeMap<String, String>, name: &'a str) -> Option<(&'a str, &'a str)> {
    let fits = |(ours, theirs): (&'a String, &'a String)| {
        let rest = name.strip_prefix(ours.as_str())?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        Some((theirs.as_str(), rest))
    };
    table.iter().filter_map(fits).min_by_key(|(_, rest)| rest.len())
}

fn join(words: &[&str]) -> String {
    let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    words.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_counts_and_whole_words_only() {
        let names: Names = toml::from_str(
            "prefixes = { \"layers.1\" = \"stem\", \"layers.1.shortcut\" = \"down\", \"layers.2\" = \"\" }\n\
             parts = { \"layers.0\" = \"conv1\", expand = \"_conv\" }",
        )
        .unwrap();
        for (ours, theirs) in [
            ("layers.1.weight", "stem.weight"),
            ("layers.10.weight", "layers.10.weight"),
            ("layers.1.layers.0.bias", "stem.conv1.bias"),
            ("layers.1.layers.01.bias", "stem.layers.01.bias"),
            ("layers.1.shortcut.0.weight", "down.0.weight"),
            ("layers.1.expand_norm.weight", "stem.expand_norm.weight"),
            ("layers.2.bias", "bias"),
            ("layers.1", "stem"),
        ] {
            assert_eq!(names.theirs(ours), theirs);
        }
        assert!(toml::from_str::<Names>("part = {}").is_err());
    }
}
