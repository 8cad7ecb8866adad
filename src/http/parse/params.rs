//! Parameters from the query, from JSON and from form fields, each accepted once.

use crate::domain::{Kind, ModelName, ParamValue, Params, Problem, Version};
use crate::http::parse::{clip, step};

const PARAMS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;
/// The one parameter that a query may repeat, which makes it a list.
const REPEATABLE: &str = "stop";

/// Parameters as they are found.
#[derive(Debug, Default)]
pub struct Collected {
    params: Params,
    count: usize,
    /// Values of the repeatable parameter in the query.
    repeated: Vec<String>,
}

impl Collected {
    /// One pair of the query.
    pub fn add_query(&mut self, name: &str, value: String) -> Result<(), Problem> {
        if name != REPEATABLE {
            return self.add(name, ParamValue::Text(value), format!("/query/{}", step(name)));
        }
        self.repeated.push(value);
        if self.repeated.len() > PARAMS_MAX {
            return Err(too_many());
        }
        Ok(())
    }

    /// One parameter of the body.
    pub fn add(&mut self, name: &str, value: ParamValue, pointer: String) -> Result<(), Problem> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                format!("a name of 1 to {NAME_BYTES_MAX} bytes"),
                format!("{} bytes", name.len()),
                "check how the parameters are written",
            ));
        }
        if self.count >= PARAMS_MAX {
            return Err(too_many());
        }
        self.count += 1;
        let in_query = name == REPEATABLE && !self.repeated.is_empty();
        if in_query || !self.params.insert(name, value, pointer.clone()) {
            return Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                "each parameter once",
                format!("`{}` twice", clip(name)),
                "give it in the query or in the body, not in both",
            ));
        }
        Ok(())
    }

    /// All of them.
    pub fn finish(mut self) -> Params {
        let value = match self.repeated.len() {
            0 => return self.params,
            1 => ParamValue::Text(self.repeated.swap_remove(0)),
            _ => ParamValue::List(self.repeated),
        };
        // Not there yet: `add` refuses it while the query holds it.
        self.params.insert(REPEATABLE, value, format!("/query/{REPEATABLE}"));
        self.params
    }
}

/// A model's name from anywhere in a request. One that no model can have is a model that is not there.
pub fn model_name(text: &str, pointer: &str) -> Result<ModelName, Problem> {
    text.parse().map_err(|_| {
        Problem::fault(
            Kind::NotFound,
            pointer,
            "a model name: 1 to 128 of a-z 0-9 . _ - that starts with a letter or digit",
            format!("{:?}", clip(text)),
            "GET /v1/models lists the models",
        )
    })
}

/// `name`, or `name@version`.
pub fn reference(text: &str, pointer: &str) -> Result<(ModelName, Option<Version>), Problem> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let version = version.map(str::parse).transpose().map_err(|_| {
        Problem::fault(
            Kind::NotFound,
            pointer,
            "a model's name, or name@version with a version from 1 to 999999999",
            format!("{:?}", clip(text)),
            "GET /v1/models lists the models and their versions",
        )
    })?;
    Ok((model_name(name, pointer)?, version))
}

fn too_many() -> Problem {
    Problem::fault(
        Kind::TooLarge,
        "/parameters",
        format!("at most {PARAMS_MAX} parameters"),
        "more",
        "leave out those that the model does not know",
    )
}
