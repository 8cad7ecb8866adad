//! The model and version that a path names, percent-decoded once and checked once.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::domain::{Kind, ModelName, Problem, Version};
use crate::http::error::Failure;
use crate::http::parse;

/// What a path names; both are absent on `/v1/predict`.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub model: Option<ModelName>,
    pub version: Option<Version>,
}

impl Target {
    /// The model, on a path that names one.
    pub fn named(self) -> Result<ModelName, Problem> {
        self.model.ok_or_else(|| Problem::new(Kind::NotFound, "the path names no model"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(Kind::NotFound, "the path is not UTF-8"))?;
        let mut target = Self { model: None, version: None };
        for (name, value) in &params {
            match name {
                "model" => {
                    let (model, version) = parse::reference(value, "/model")?;
                    (target.model, target.version) = (Some(model), version);
                }
                "version" => target.version = Some(once(target.version, version(value)?)?),
                // A repository of Triton's: this server has one, whatever it is called.
                _ => {}
            }
        }
        Ok(target)
    }
}

/// A version that both `name@version` and the path's end name must be the same.
fn once(known: Option<Version>, version: Version) -> Result<Version, Problem> {
    match known {
        Some(known) if known != version => Err(Problem::fault(
            Kind::InvalidInput,
            "/version",
            format!("{known}, which the path names before"),
            version.to_string(),
            "name the version once",
        )),
        _ => Ok(version),
    }
}

fn version(text: &str) -> Result<Version, Problem> {
    text.parse().map_err(|_| {
        Problem::fault(
            Kind::NotFound,
            "/version",
            "a version: an integer from 1 to 999999999",
            format!("{:?}", text.chars().take(80).collect::<String>()),
            "GET /v1/models lists the versions",
        )
    })
}
