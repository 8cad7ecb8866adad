//! What each route is for, what it reads and what it answers.

use axum::http::Method;
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{Content, ObjectBuilder, RefOr, Required, Schema, Type};

use crate::domain::Card;
use crate::http::openapi::{Schemas, examples, openai as o, schemas as s};
use crate::oip::{IndexEntry, ModelConfig, ModelMetadata};

/// Adds a type's schema and refers to it.
type Maker = fn(&mut Schemas) -> RefOr<Schema>;

/// What is told of a route beside its path, its method and who may use it.
pub struct About {
    pub tag: &'static str,
    pub summary: &'static str,
    /// Parameters of the query, with what they mean.
    pub query: &'static [(&'static str, &'static str)],
    pub reads: Reads,
    pub answers: Answers,
    /// Whether its refusals are the answers of a probe.
    pub probe: bool,
}

/// Bodies.
pub enum Reads {
    Nothing,
    /// A document, or no body where it may be left out.
    Json(Maker, Required),
    /// Whatever a model reads, by our own protocol.
    Item,
    /// Tensors: JSON, or JSON and bytes.
    Tensors,
    /// A recording, and what is asked of it.
    Form(Maker),
}

/// Answers that are no failures.
pub enum Answers {
    Json(Maker),
    JsonList(Maker),
    Text,
    /// A document, or a text where that is what the model gives.
    JsonOrText,
    Html,
    /// Nothing but the status.
    Empty,
    /// JSON, or a stream of events where the caller asks for one.
    Prediction,
    Tensors,
    Events,
    /// A text, or a stream of events where the caller asks for one.
    Generated,
    /// In one of the formats, or a stream of events.
    Transcript,
}

impl Reads {
    pub fn body(&self, schemas: &mut Schemas, cards: &[Card]) -> Option<RequestBody> {
        let body = |required| RequestBodyBuilder::new().required(Some(required));
        match self {
            Self::Nothing => None,
            Self::Json(make, required) => {
                let content = Content::new(Some(make(schemas)));
                Some(body(required.clone()).content("application/json", content).build())
            }
            Self::Item => {
                let mut json = Content::new(Some(schemas.of::<s::PredictionRequest>()));
                json.examples.extend(examples::items(cards));
                let body = body(Required::True).content("application/json", json);
                Some(body.content("text/plain", Content::new(Some(bytes()))).build())
            }
            Self::Form(make) => {
                let content = Content::new(Some(make(schemas)));
                Some(body(Required::True).content("multipart/form-data", content).build())
            }
            Self::Tensors => {
                let mut json = Content::new(Some(schemas.of::<s::InferenceRequest>()));
                json.examples.extend(examples::tensors(cards));
                Some(body(Required::True).content("application/json", json).build())
            }
        }
    }
}

impl Answers {
    /// Media types and their schemas.
    pub fn content(&self, schemas: &mut Schemas) -> Vec<(&'static str, Option<RefOr<Schema>>)> {
        const JSON: &str = "application/json";
        match self {
            Self::Json(make) => vec![(JSON, Some(make(schemas)))],
            Self::JsonList(make) => {
                let list = ArrayBuilder::new().items(make(schemas)).build();
                vec![(JSON, Some(Schema::Array(list).into()))]
            }
            Self::JsonOrText => {
                vec![(JSON, Some(schemas.of::<s::Anything>())), ("text/plain", Some(bytes()))]
            }
            Self::Text => vec![("text/plain", Some(bytes()))],
            Self::Html => vec![("text/html", Some(bytes()))],
            Self::Empty => Vec::new(),
            Self::Prediction => {
                vec![(JSON, Some(schemas.of::<s::Prediction>())), ("text/event-stream", None)]
            }
            Self::Tensors => vec![
                (JSON, Some(schemas.of::<s::InferenceResponse>())),
                ("application/octet-stream", Some(bytes())),
            ],
            Self::Events => vec![("text/event-stream", None)],
            Self::Generated => {
                vec![(JSON, Some(schemas.of::<o::GeneratedBody>())), ("text/event-stream", None)]
            }
            Self::Transcript => vec![
                (JSON, Some(schemas.of::<o::TranscriptionBody>())),
                ("text/plain", Some(bytes())),
                ("application/x-subrip", Some(bytes())),
                ("text/vtt", Some(bytes())),
                ("text/event-stream", None),
            ],
        }
    }
}

fn bytes() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// What is told of a route; `None` of those that say that something is not offered.
pub fn about(method: &Method, path: &str) -> Option<About> {
    let text = |tag, summary, answers| About {
        tag,
        summary,
        query: &[],
        reads: Reads::Nothing,
        answers,
        probe: false,
    };
    // What a path and the same path with a version are for is one thing.
    let path = path.replace("/versions/{version}", "").replace("/{version}", "");
    let about = match (method.as_str(), path.as_str()) {
        ("POST", "/v1/predict") => About {
            reads: Reads::Item,
            ..text(OWN, "Predict; the body names the model", Answers::Prediction)
        },
        ("POST", "/v1/predict/{model}") => {
            About { reads: Reads::Item, ..text(OWN, "Predict", Answers::Prediction) }
        }
        ("GET", "/v1/models") => {
            text(OWN, "Every version of every model", Answers::Json(Schemas::of::<s::AnyObject>))
        }
        ("GET", "/v1/models/{model}") => text(
            OWN,
            "A model, its versions, how to ask it",
            Answers::Json(Schemas::of::<s::AnyObject>),
        ),
        ("GET", "/livez") => probe("Whether the process makes progress"),
        ("GET", "/readyz" | "/health") => probe("Whether traffic should come here"),
        ("GET", "/startupz") => probe("Whether every model was tried"),
        ("GET", "/metrics") => text(OPERATION, "Metrics, for Prometheus", Answers::Text),
        ("GET", "/openapi.json") => {
            text(OPERATION, "This document", Answers::Json(Schemas::of::<s::AnyObject>))
        }
        ("GET", "/docs") => text(OPERATION, "This document, to read", Answers::Html),
        _ => {
            return open_inference(method, &path)
                .or_else(|| open_ai(method, &path))
                .or_else(|| torch_serve(method, &path));
        }
    };
    Some(about)
}

const OWN: &str = "Predictions";
const OPERATION: &str = "Operation";
const OIP: &str = "Open Inference Protocol";

fn probe(summary: &'static str) -> About {
    About {
        tag: OPERATION,
        summary,
        query: &[("verbose", "Says why not")],
        reads: Reads::Nothing,
        answers: Answers::Text,
        probe: true,
    }
}

/// Something that is read, without a body.
fn oip(summary: &'static str, answers: Answers) -> About {
    About { tag: OIP, summary, query: &[], reads: Reads::Nothing, answers, probe: false }
}

fn open_inference(method: &Method, path: &str) -> Option<About> {
    let read = oip;
    let post = |summary, reads, answers| About { reads, ..read(summary, answers) };
    Some(match (method.as_str(), path) {
        ("GET", "/v2") => read("The server", Answers::Json(Schemas::of::<s::ServerMetadata>)),
        ("GET", "/v2/health/live") => {
            About { probe: true, ..read("Whether it lives", Answers::Json(Schemas::of::<s::Live>)) }
        }
        ("GET", "/v2/health/ready") => About {
            probe: true,
            ..read("Whether it is ready", Answers::Json(Schemas::of::<s::Ready>))
        },
        ("GET", "/v2/models") => {
            read("Names of all models", Answers::Json(Schemas::of::<s::ModelNames>))
        }
        ("GET", "/v2/models/{model}") => {
            read("What a model reads and says", Answers::Json(Schemas::of::<ModelMetadata>))
        }
        ("GET", "/v2/models/{model}/ready") => {
            read("Whether a model is ready", Answers::Json(Schemas::of::<s::ModelReady>))
        }
        ("GET", "/v2/models/{model}/config") => {
            read("A model's configuration", Answers::Json(Schemas::of::<ModelConfig>))
        }
        ("GET", "/v2/models/{model}/stats" | "/v2/models/stats") => {
            read("What models have done", Answers::Json(Schemas::of::<s::Statistics>))
        }
        ("POST", "/v2/models/{model}/infer") => {
            post("Predict on tensors", Reads::Tensors, Answers::Tensors)
        }
        ("POST", "/v2/models/{model}/generate") => post(
            "Go on from a text",
            Reads::Json(Schemas::of::<s::GenerateRequest>, Required::True),
            Answers::Json(Schemas::of::<s::GenerateResponse>),
        ),
        ("POST", "/v2/models/{model}/generate_stream") => post(
            "Go on from a text, piece by piece",
            Reads::Json(Schemas::of::<s::GenerateRequest>, Required::True),
            Answers::Events,
        ),
        _ => return repository(method, path),
    })
}

fn repository(method: &Method, path: &str) -> Option<About> {
    let read = oip;
    let post = |summary, reads, answers| About { reads, ..read(summary, answers) };
    let optional = |make| Reads::Json(make, Required::False);
    Some(match (method.as_str(), path) {
        ("POST", "/v2/repository/index" | "/v2/repository/{repository}/index") => post(
            "Every version and its state",
            optional(Schemas::of::<s::IndexRequest>),
            Answers::JsonList(Schemas::of::<IndexEntry>),
        ),
        (
            "POST",
            "/v2/repository/models/{model}/load"
            | "/v2/repository/{repository}/models/{model}/load",
        ) => post(
            "Bring a model into service",
            optional(Schemas::of::<s::LoadRequest>),
            Answers::Empty,
        ),
        (
            "POST",
            "/v2/repository/models/{model}/unload"
            | "/v2/repository/{repository}/models/{model}/unload",
        ) => post(
            "Take a model out of service",
            optional(Schemas::of::<s::UnloadRequest>),
            Answers::Empty,
        ),
        ("GET", "/v2/logging") => {
            read("What the log says", Answers::Json(Schemas::of::<s::Levels>))
        }
        ("POST", "/v2/logging") => post(
            "Change what the log says",
            optional(Schemas::of::<s::LevelsRequest>),
            Answers::Json(Schemas::of::<s::Levels>),
        ),
        _ => return None,
    })
}

fn open_ai(method: &Method, path: &str) -> Option<About> {
    let about = |summary, reads, answers| About {
        tag: "OpenAI",
        summary,
        query: &[],
        reads,
        answers,
        probe: false,
    };
    if *method != Method::POST {
        return None;
    }
    let json = |make| Reads::Json(make, Required::True);
    Some(match path {
        "/v1/completions" => about(
            "Go on from prompts",
            json(Schemas::of::<o::CompletionRequest>),
            Answers::Generated,
        ),
        "/v1/chat/completions" => {
            about("Reply to messages", json(Schemas::of::<o::ChatRequest>), Answers::Generated)
        }
        "/v1/embeddings" => about(
            "Texts to vectors",
            json(Schemas::of::<o::EmbeddingRequest>),
            Answers::Json(Schemas::of::<o::EmbeddingBody>),
        ),
        "/v1/audio/transcriptions" => about(
            "Sound to text",
            Reads::Form(Schemas::of::<o::TranscriptionForm>),
            Answers::Transcript,
        ),
        "/v1/audio/translations" => about(
            "Sound to English text",
            Reads::Form(Schemas::of::<o::TranslationForm>),
            Answers::Transcript,
        ),
        _ => return None,
    })
}

fn torch_serve(method: &Method, path: &str) -> Option<About> {
    const TAG: &str = "TorchServe";
    let read = |summary, answers| About {
        tag: TAG,
        summary,
        query: &[],
        reads: Reads::Nothing,
        answers,
        probe: false,
    };
    Some(match (method.as_str(), path) {
        ("GET", "/ping") => About {
            probe: true,
            ..read("Whether it is ready", Answers::Json(Schemas::of::<s::Ping>))
        },
        ("POST" | "PUT", "/predictions/{model}") => {
            About { reads: Reads::Item, ..read("Predict", Answers::JsonOrText) }
        }
        ("GET", "/models") => About {
            query: &[("limit", "Models on a page"), ("next_page_token", "Where the page begins")],
            ..read("Models by name", Answers::Json(Schemas::of::<s::TorchServeModels>))
        },
        ("GET", "/models/{model}") => {
            read("Versions of a model", Answers::JsonList(Schemas::of::<s::AnyObject>))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::table::{Listener, TABLE};

    #[test]
    fn every_route_is_told_of_but_those_that_say_that_something_is_not_offered() {
        let main = TABLE.iter().filter(|row| row.need(Listener::Main).is_some());
        let silent = main.filter(|row| about(&row.method, row.path).is_none());
        for row in silent {
            let meant =
                row.path == "/v2/" || row.path.contains("memory") || row.path.contains("trace");
            assert!(meant, "{} {} is not described", row.method, row.path);
        }
    }
}
