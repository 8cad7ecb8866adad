//! The file: TOML, one section a topic, and one section `[models.<name>]` a model.

use toml::{Table, Value};

use crate::config::fault::Fault;
use crate::config::table::{KEYS, Key, MODEL_KEYS};
use crate::config::value::Form;
use crate::config::{ModelSettings, Settings};
use crate::domain::ModelName;

/// A settings file that was read.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// How faults name it.
    pub name: &'a str,
    pub text: &'a str,
}

impl File<'_> {
    /// Sets what the file says, and adds what is wrong with it to `faults`.
    pub(super) fn apply(self, settings: &mut Settings, faults: &mut Vec<Fault>) {
        let table = match self.text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => return faults.push(self.syntax(&error)),
        };
        for (name, value) in &table {
            match value {
                Value::Table(models) if name == "models" => self.models(models, settings, faults),
                Value::Table(section) if is_section(name) => {
                    for (key, value) in section {
                        let name = format!("{name}.{key}");
                        self.assign(KEYS, settings, (&name, &name), value, faults);
                    }
                }
                _ => self.assign(KEYS, settings, (name, name), value, faults),
            }
        }
    }

    fn models(self, models: &Table, settings: &mut Settings, faults: &mut Vec<Fault>) {
        for (name, value) in models {
            let origin = format!("{}, models.{name}", self.name);
            let (model, keys) = match (name.parse::<ModelName>(), value) {
                (Ok(model), Value::Table(keys)) => (model, keys),
                (Ok(_), other) => {
                    faults.push(Fault { origin, expected: "a section".into(), got: shown(other) });
                    continue;
                }
                (Err(error), _) => {
                    let (expected, got) = (error.expected.to_owned(), format!("{:?}", error.got));
                    faults.push(Fault { origin, expected, got });
                    continue;
                }
            };
            let mut own = ModelSettings::default();
            for (key, value) in keys {
                let place = format!("models.{name}.{key}");
                self.assign(MODEL_KEYS, &mut own, (key, &place), value, faults);
            }
            settings.models.insert(model, own);
        }
    }

    /// Sets one key, which the table of `keys` calls `name` and the file calls `place`.
    fn assign<S>(
        self,
        keys: &[Key<S>],
        settings: &mut S,
        (name, place): (&str, &str),
        value: &Value,
        faults: &mut Vec<Fault>,
    ) {
        let outcome = match keys.iter().find(|key| key.name == name) {
            None => Err((known_beside(keys, name), "an unknown key".to_owned())),
            Some(key) => match text(key.form, value) {
                None => Err((key.form.expected().to_owned(), shown(value))),
                Some(text) => {
                    (key.set)(settings, &text).map_err(|expected| (expected, shown(value)))
                }
            },
        };
        if let Err((expected, got)) = outcome {
            faults.push(Fault { origin: format!("{}, {place}", self.name), expected, got });
        }
    }

    fn syntax(self, error: &toml::de::Error) -> Fault {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + self.text.bytes().take(start).filter(|&b| b == b'\n').count();
        Fault {
            origin: format!("{}, line {line}", self.name),
            expected: "TOML".to_owned(),
            got: error.message().to_owned(),
        }
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.place().0 == name)
}

/// The value as the text that a variable or a flag would bring; `None` when its type is another one.
fn text(form: Form, value: &Value) -> Option<String> {
    match (form, value) {
        (Form::Text, Value::String(text)) => Some(text.clone()),
        (Form::Integer, Value::Integer(number)) => Some(number.to_string()),
        (Form::Boolean, Value::Boolean(switch)) => Some(switch.to_string()),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a section".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        plain => plain.to_string(),
    }
}

/// The keys of the section that `name` lies in, for whoever mistyped it.
fn known_beside<S>(keys: &[Key<S>], name: &str) -> String {
    let section = name.rsplit_once('.').map_or("", |(section, _)| section);
    let known: Vec<_> =
        keys.iter().map(Key::place).filter(|place| place.0 == section).map(|p| p.1).collect();
    format!("one of {}", known.join(", "))
}
