//! A client of a server like this one, for programs in Rust.
//!
//! ```no_run
//! # async fn example() -> Result<(), maas::client::ClientError> {
//! use maas::client::{Client, Input};
//!
//! let client = Client::new("http://127.0.0.1:8080")?;
//! let verse = client.predict("kjv", Input::text("In the beginning"), &[("max_tokens", "40")]).await?;
//! println!("{:?} by {}", verse.outcomes[0], verse.digest);
//! # Ok(())
//! # }
//! ```

mod answer;
mod error;
mod stream;

use std::time::Duration;

use bytes::Bytes;
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;

pub use answer::{Class, Entry, Model, Outcome, Prediction, Word};
pub use error::{ClientError, Fault, Refusal};
pub use stream::{Piece, Pieces};

/// For a connection; answers have the deadline of their request.
const CONNECT: Duration = Duration::from_secs(10);

/// Something to predict on.
#[derive(Debug, Clone)]
pub struct Input {
    bytes: Bytes,
    media_type: &'static str,
}

impl Input {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { bytes: Bytes::from(text.into()), media_type: "text/plain" }
    }

    /// A file's bytes: a picture, sound, a text, or a tensor's values. The model takes them for what it reads.
    #[must_use]
    pub fn file(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), media_type: "application/octet-stream" }
    }

    /// A document of the native protocol, several inputs at once.
    #[must_use]
    pub fn json(document: &serde_json::Value) -> Self {
        Self { bytes: Bytes::from(document.to_string()), media_type: "application/json" }
    }
}

/// Asks a server. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    /// Of the server at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`ClientError::Address`] when that is no address of one.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let address = || ClientError::Address(base.chars().take(200).collect());
        let host = base.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let host =
            host.filter(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()));
        let host = host.ok_or_else(address)?;
        let http = reqwest::Client::builder().connect_timeout(CONNECT).build();
        let http = http.map_err(|_| address())?;
        Ok(Self { http, base: format!("http://{host}"), key: None })
    }

    /// With a key, as `maas key new` makes them.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Whether the server is ready for traffic.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when it does not answer.
    pub async fn is_ready(&self) -> Result<bool, ClientError> {
        let request = self.http.get(format!("{}/readyz", self.base));
        Ok(request.send().await?.status().is_success())
    }

    /// Every model, and its versions.
    ///
    /// # Errors
    /// [`ClientError`] when it does not answer, or refuses.
    pub async fn models(&self) -> Result<Vec<Model>, ClientError> {
        let list: answer::List = self.get("/v1/models").await?;
        Ok(list.data)
    }

    /// Predicts. `model` is a name, or `name@version`; parameters are those that the model honours.
    ///
    /// # Errors
    /// [`ClientError`] when the server does not answer, or refuses.
    pub async fn predict(
        &self,
        model: &str,
        input: Input,
        parameters: &[(&str, &str)],
    ) -> Result<Prediction, ClientError> {
        let response = self.send(model, input, parameters).await?;
        let bytes = response.bytes().await?;
        answer::prediction(&bytes)
    }

    /// Generates, piece by piece; the last piece is the whole answer.
    ///
    /// # Errors
    /// [`ClientError`] when the server does not answer, or refuses before the first piece.
    pub async fn stream(
        &self,
        model: &str,
        input: Input,
        parameters: &[(&str, &str)],
    ) -> Result<Pieces, ClientError> {
        let with: Vec<(&str, &str)> =
            parameters.iter().copied().chain([("stream", "true")]).collect();
        Ok(Pieces::new(self.send(model, input, &with).await?))
    }

    async fn send(
        &self,
        model: &str,
        input: Input,
        parameters: &[(&str, &str)],
    ) -> Result<Response, ClientError> {
        let path = match model.split_once('@') {
            Some((name, version)) => format!("/v1/predict/{name}/versions/{version}"),
            None => format!("/v1/predict/{model}"),
        };
        let request = self.http.post(format!("{}{path}", self.base)).query(parameters);
        let request = request.header("content-type", input.media_type).body(input.bytes);
        self.answered(request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.answered(self.http.get(format!("{}{path}", self.base))).await?;
        let bytes = response.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|_| ClientError::Foreign)
    }

    /// Sends a request; a refusal is an error.
    async fn answered(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        Err(Refusal::read(status, &response.bytes().await?).into())
    }
}
