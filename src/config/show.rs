//! Settings as the text of a file.

use std::fmt::Write;

use crate::config::table::{KEYS, Key, MODEL_KEYS};
use crate::config::value::Form;
use crate::config::{ModelSettings, Settings};
use crate::domain::DeviceChoice;

/// The settings as a file that loads to the same settings.
#[must_use]
pub fn show(settings: &Settings) -> String {
    let mut text = String::new();
    render(&mut text, KEYS, settings, |text, _, line| writeln!(text, "{line}"));
    for (name, model) in &settings.models {
        // A name may hold dots, which only quotes keep from opening another section.
        let _ = writeln!(text, "\n[models.{:?}]", name.as_str());
        render(&mut text, MODEL_KEYS, model, |text, _, line| writeln!(text, "{line}"));
    }
    text
}

/// config/maas.toml: every key with its default, commented out, under a sentence of what it is.
#[must_use]
pub fn defaults() -> String {
    let mut text = String::from(
        "# Every setting with its default. Remove a `#` to change one.\n\
         # A variable takes precedence over this file, and a flag over both: limits.body_bytes_max is\n\
         # also MAAS_LIMITS_BODY_BYTES_MAX and --limits-body-bytes-max.\n\n",
    );
    let commented = |text: &mut String, doc: &str, line: &str| writeln!(text, "# {doc}\n#{line}");
    render(&mut text, KEYS, &Settings::default(), commented);
    text.push_str("\n# What is special to one model; what is left out is as for all of them.\n");
    text.push_str("#[models.NAME]\n");
    let engine = Settings::default().engine;
    let example = ModelSettings {
        device: Some(DeviceChoice::Auto),
        intra_op_threads: Some(engine.intra_op_threads),
        batch_auto: Some(engine.batch_auto),
        batch_rows_max: Some(engine.batch_rows_max),
        batch_delay_max: Some(engine.batch_delay_max),
        queue_rows_max: Some(engine.queue_rows_max),
        queue_wait_max: Some(engine.queue_wait_max),
        ..ModelSettings::default()
    };
    render(&mut text, MODEL_KEYS, &example, commented);
    text
}

/// Writes each key that is set through `line`, which is given the key's sentence and `key = value`.
fn render<S>(
    text: &mut String,
    keys: &[Key<S>],
    settings: &S,
    line: impl Fn(&mut String, &str, &str) -> std::fmt::Result,
) {
    let mut last = "";
    for key in keys {
        let Some(value) = (key.get)(settings) else { continue };
        let (section, name) = key.place();
        if section != last {
            let _ = writeln!(text, "\n[{section}]");
            last = section;
        }
        let value = match key.form {
            Form::Text => toml::Value::String(value).to_string(),
            Form::Integer | Form::Boolean => value,
        };
        // Writing to a String does not fail.
        let _ = line(text, key.doc, &format!("{name} = {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, load};

    fn loaded(text: &str) -> Settings {
        load(Some(File { name: "shown", text }), std::iter::empty(), &[]).unwrap()
    }

    #[test]
    fn config_maas_toml_is_what_the_table_says() {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/config/maas.toml");
        let committed = std::fs::read_to_string(place).unwrap_or_default();
        assert!(
            committed == defaults(),
            "config/maas.toml is not the table's: `cargo run -- config show --defaults >config/maas.toml`"
        );
    }

    #[test]
    fn the_file_of_defaults_changes_nothing_even_without_its_comment_signs() {
        let text = defaults();
        assert_eq!(loaded(&text), Settings::default());
        let typed: String = text
            .lines()
            .map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
            .filter(|line| !line.starts_with('#'))
            .fold(String::new(), |all, line| all + &line.replace("NAME", "name") + "\n");
        let mut settings = loaded(&typed);
        assert!(settings.models.remove(&"name".parse().unwrap()).is_some());
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn what_is_shown_loads_to_the_same() {
        let text = "http = \"[::1]:1\"\nkeys = 'a \"b\" \\ c'\n[drain]\ngrace_ms = 0\n\
                    [models.\"a.b\"]\nqueue_rows_max = 9\n";
        let settings = loaded(text);
        assert_eq!(loaded(&show(&settings)), settings);
    }
}
