//! The table of everything that can be set. One row makes the key of the file, the variable
//! `MAAS_…`, the flag `--…` and the line in config/maas.toml.

use std::ops::RangeInclusive;

use crate::config::value::{Form, Number, Switch, Text};
use crate::config::{ModelSettings, Settings};

/// One key of `S`.
pub struct Key<S: 'static> {
    /// `limits.body_bytes_max`: the section and the key in the file.
    pub name: &'static str,
    pub form: Form,
    /// One sentence, for the file and for `--help`.
    pub doc: &'static str,
    /// The value as text; `None` when it is not set.
    pub get: fn(&S) -> Option<String>,
    /// Sets the value from text, or says what was expected.
    pub set: fn(&mut S, &str) -> Result<(), String>,
}

impl<S> Key<S> {
    /// The environment variable: `MAAS_LIMITS_BODY_BYTES_MAX`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("MAAS_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// The flag without its dashes: `limits-body-bytes-max`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// The section in the file and the key within it; the section is empty for the top level.
    #[must_use]
    pub fn place(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }
}

fn set_text<T: Text>(place: &mut T, text: &str) -> Result<(), String> {
    *place = T::parse(text).ok_or_else(|| T::EXPECTED.to_owned())?;
    Ok(())
}

fn set_number<N: Number>(
    place: &mut N,
    text: &str,
    range: &RangeInclusive<u64>,
) -> Result<(), String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    *place = number
        .and_then(N::from_u64)
        .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))?;
    Ok(())
}

fn set_switch<S: Switch>(place: &mut S, text: &str) -> Result<(), String> {
    *place = S::from_bool(text.parse().map_err(|_| "true or false".to_owned())?);
    Ok(())
}

macro_rules! text {
    ($name:literal, $($field:ident).+, $doc:literal) => {
        Key {
            name: $name,
            form: Form::Text,
            doc: $doc,
            get: |s| s.$($field).+.show(),
            set: |s, text| set_text(&mut s.$($field).+, text),
        }
    };
}

macro_rules! number {
    ($name:literal, $($field:ident).+, $range:expr, $doc:literal) => {
        Key {
            name: $name,
            form: Form::Integer,
            doc: $doc,
            get: |s| s.$($field).+.to_u64().map(|number| number.to_string()),
            set: |s, text| set_number(&mut s.$($field).+, text, &$range),
        }
    };
}

macro_rules! switch {
    ($name:literal, $($field:ident).+, $doc:literal) => {
        Key {
            name: $name,
            form: Form::Boolean,
            doc: $doc,
            get: |s| s.$($field).+.to_bool().map(|on| on.to_string()),
            set: |s, text| set_switch(&mut s.$($field).+, text),
        }
    };
}

/// The largest size in bytes: 1 TiB.
const BYTES: u64 = 1 << 40;
/// The longest time in milliseconds: a day.
const DAY: u64 = 24 * 60 * 60 * 1000;
/// The most rows, connections or items.
const COUNT: u64 = 1 << 20;

/// Every key of the settings, in the order of the file: the top level first, then its sections.
pub const KEYS: &[Key<Settings>] = &[
    text!("http", http, "Address of the main listener; port 0 takes a free one."),
    text!("grpc", grpc, "Address of the gRPC listener."),
    text!("admin", admin, "Address of the admin listener: probes, metrics and administration."),
    text!("store", store, "Directory of the models, <name>/<version>/; it is only read."),
    text!("state", state, "Directory of what must survive a restart; created when missing."),
    text!("keys", keys, "File with the SHA-256 digests of API keys; `maas key new` makes a line."),
    switch!("insecure", insecure, "Allow an address that others can reach without any keys."),
    text!("device", device, "Where models run: auto (a GPU when there is one), cpu or cuda:N."),
    text!(
        "cpu",
        cpu,
        "Instructions on a CPU: auto (the widest it has), portable, avx2, avx512, amx or neon."
    ),
    text!("compat", compat, "Routes of another server to add: none or torchserve."),
    text!("metrics_compat", metrics_compat, "Metrics of another server to add: none or triton."),
    text!("log_format", log_format, "pretty for people, json for machines."),
    text!("log_filter", log_filter, "What is logged: a level, or maas=debug,info and the like."),
    number!("limits.body_bytes_max", limits.body_bytes_max, 1..=BYTES, "Largest request body."),
    number!("limits.connections_max", limits.connections_max, 1..=COUNT, "Open connections."),
    number!(
        "limits.header_timeout_ms",
        limits.header_timeout,
        1..=DAY,
        "Time in which a request's head must have come."
    ),
    number!(
        "limits.body_timeout_ms",
        limits.body_timeout,
        1..=DAY,
        "Time in which a request's body must have come."
    ),
    number!(
        "limits.idle_timeout_ms",
        limits.idle_timeout,
        1..=DAY,
        "Time that a connection may stay open between requests."
    ),
    number!(
        "limits.deadline_default_ms",
        limits.deadline_default,
        1..=DAY,
        "How long a request may take that does not say so itself."
    ),
    number!(
        "limits.deadline_max_ms",
        limits.deadline_max,
        1..=DAY,
        "The longest deadline that a request may ask for."
    ),
    number!(
        "limits.caller_requests_per_s_max",
        limits.caller_requests_per_s_max,
        0..=COUNT,
        "Predictions a second of one caller (a key, or without keys an address); 0 limits nobody."
    ),
    number!(
        "media.image_side_px_max",
        media.image_side_px_max,
        1..=65_535,
        "Largest width and height of a picture."
    ),
    number!(
        "media.image_decoded_bytes_max",
        media.image_decoded_bytes_max,
        1..=BYTES,
        "Largest size of a decoded picture."
    ),
    number!("media.audio_seconds_max", media.audio_seconds_max, 1..=86_400, "Longest sound."),
    number!("media.text_bytes_max", media.text_bytes_max, 1..=BYTES, "Longest text."),
    number!("media.tensor_values_max", media.tensor_values_max, 1..=BYTES, "Largest tensor."),
    number!("media.items_max", media.items_max, 1..=COUNT, "Most items in one request."),
    number!(
        "media.generated_tokens_max",
        media.generated_tokens_max,
        1..=COUNT,
        "Most tokens that a request may ask to be generated."
    ),
    number!(
        "engine.workers",
        engine.workers,
        0..=1024,
        "Compute threads in each of the two lanes, for short and for long work; 0 takes one per core."
    ),
    number!(
        "engine.intra_op_threads",
        engine.intra_op_threads,
        0..=1024,
        "Threads that share one forward pass; 0 takes all while nothing else runs, and else one."
    ),
    switch!(
        "engine.batch_auto",
        engine.batch_auto,
        "Let what was measured on this machine choose size and delay, up to the limits below."
    ),
    number!(
        "engine.batch_rows_max",
        engine.batch_rows_max,
        1..=COUNT,
        "Most rows in one forward pass of a model."
    ),
    number!(
        "engine.batch_cost_max",
        engine.batch_cost_max,
        1..=BYTES,
        "Most that one pass may cost: 1 for a picture, as many as its frames or tokens for other rows."
    ),
    number!(
        "engine.batch_delay_us_max",
        engine.batch_delay_max,
        0..=10_000_000,
        "Longest wait of a row for others while a batch of its model runs; an idle model never waits."
    ),
    number!(
        "engine.queue_rows_max",
        engine.queue_rows_max,
        1..=COUNT,
        "Most rows that may wait for a model; more are refused."
    ),
    number!(
        "engine.queue_wait_ms_max",
        engine.queue_wait_max,
        0..=DAY,
        "Most work that may wait for a model, in the time that it takes; 0 chooses."
    ),
    number!(
        "drain.grace_ms",
        drain.grace,
        0..=DAY,
        "After SIGTERM: how long to serve on while load balancers see that this one is not ready."
    ),
    number!(
        "drain.timeout_ms",
        drain.timeout,
        0..=DAY,
        "After the grace: how long requests in flight may take to finish."
    ),
];

/// Every key of a section `[models.<name>]`.
pub const MODEL_KEYS: &[Key<ModelSettings>] = &[
    text!("device", device, "Where this model runs."),
    number!(
        "intra_op_threads",
        intra_op_threads,
        0..=1024,
        "Threads that share one forward pass; 0: all or one."
    ),
    number!("instances", instances, 0..=1024, "Batches that run at once; 0 takes what there is."),
    number!("weight", weight, 1..=1000, "Its share of the threads beside models of weight 1."),
    switch!("batch_auto", batch_auto, "Whether what was measured chooses size and delay."),
    number!("batch_rows_max", batch_rows_max, 1..=COUNT, "Most rows in one forward pass."),
    number!("batch_delay_us_max", batch_delay_max, 0..=10_000_000, "Longest wait for other rows."),
    number!("queue_rows_max", queue_rows_max, 1..=COUNT, "Most rows that may wait."),
    number!("queue_wait_ms_max", queue_wait_max, 0..=DAY, "Most work that may wait, in its time."),
    switch!("required", required, "Whether the server is ready only when this model is."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_own_row_takes() {
        let defaults = Settings::default();
        for key in KEYS {
            let shown = (key.get)(&defaults).unwrap();
            let mut settings = Settings::default();
            (key.set)(&mut settings, &shown).unwrap_or_else(|e| panic!("{}: {e}", key.name));
            assert_eq!(settings, defaults, "{}", key.name);
        }
    }

    #[test]
    fn no_two_rows_share_a_key_a_variable_or_a_flag() {
        for name in [Key::variable, Key::flag, |key: &Key<Settings>| key.name.to_owned()] {
            assert_eq!(KEYS.iter().map(name).collect::<BTreeSet<_>>().len(), KEYS.len());
        }
    }

    #[test]
    fn each_row_sets_a_field_of_its_own() {
        // Sets every number to its row number; a row that wrote to another's field is found out.
        let numbers = || KEYS.iter().enumerate().filter(|(_, key)| key.form == Form::Integer);
        let mut settings = Settings::default();
        for (row, key) in numbers() {
            (key.set)(&mut settings, &row.to_string()).unwrap();
        }
        for (row, key) in numbers() {
            assert_eq!((key.get)(&settings), Some(row.to_string()), "{}", key.name);
        }
    }

    #[test]
    fn numbers_out_of_their_range_are_refused_with_the_range() {
        let key = KEYS.iter().find(|key| key.name == "engine.batch_rows_max").unwrap();
        let mut settings = Settings::default();
        for bad in ["0", "-1", "1048577", "1e3", "", "18446744073709551616"] {
            let expected = (key.set)(&mut settings, bad).unwrap_err();
            assert_eq!(expected, "a whole number from 1 to 1048576", "{bad}");
        }
        assert_eq!(settings, Settings::default());
    }
}
