//! What the server offers, as OpenAPI 3.1 and as a page to read: made of the route table, of the types that the
//! handlers write, and of the models that serve.

mod examples;
mod openai;
mod operations;
mod page;
mod schemas;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::Html;
use utoipa::ToSchema;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Required, ResponseBuilder, Schema, ServerBuilder, Type,
};

use crate::access::{Need, Scope};
use crate::domain::Card;
use crate::http::App;
use crate::http::face::Face;
use crate::http::table::{Listener, Row, TABLE};
use operations::{About, Answers, about};

/// `GET /openapi.json`.
pub async fn show(State(app): State<Arc<App>>) -> Json<OpenApi> {
    Json(document(&app))
}

/// `GET /docs`: a page that needs nothing from anywhere else.
pub async fn browse(State(app): State<Arc<App>>) -> Html<String> {
    Html(page::page(&document(&app)))
}

/// Schemas that the document names, as they are met.
#[derive(Default)]
pub struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// A reference to a type's schema, which is added.
    pub fn of<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let mut inner = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut inner);
        self.0.extend(inner);
        Ref::from_schema_name(T::name()).into()
    }
}

/// The whole document.
fn document(app: &App) -> OpenApi {
    let cards: Vec<Card> = app
        .registry
        .list()
        .into_iter()
        .filter_map(|slot| slot.model)
        .map(|model| model.card.clone())
        .collect();
    let mut schemas = Schemas::default();
    let mut paths = PathsBuilder::new();
    for row in TABLE {
        let Some(need) = row.need(Listener::Main).filter(|_| row.is_on(app.compat)) else {
            continue;
        };
        let Some(about) = about(&row.method, row.path) else { continue };
        let open = app.access.open();
        let operation = operation(row, need, &about, (&cards, open), &mut schemas);
        let item = utoipa::openapi::path::PathItem::new(method(&row.method), operation);
        paths = paths.path(row.path, item);
    }
    let mut components = ComponentsBuilder::new()
        .security_scheme(KEY, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    for (name, schema) in schemas.0 {
        components = components.schema(name, schema);
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("maas")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(env!("CARGO_PKG_DESCRIPTION")))
                .build(),
        )
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

/// What the scheme of keys is called in the document.
const KEY: &str = "key";

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(
    row: &Row,
    need: Need,
    about: &About,
    (cards, open): (&[Card], bool),
    schemas: &mut Schemas,
) -> Operation {
    let id: String = format!("{}{}", row.method.as_str().to_lowercase(), row.path)
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char } else { '_' })
        .collect();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .tag(about.tag)
        .summary(Some(about.summary))
        .request_body(about.reads.body(schemas, cards));
    for parameter in parameters(row.path, cards) {
        operation = operation.parameter(parameter);
    }
    for &(name, what) in about.query {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(what))
                .schema(Some(schema)),
        );
    }
    operation = operation.response("200", good(&about.answers, schemas));
    for status in ["4XX", "5XX"] {
        operation = operation.response(status, failure(row, about.probe, schemas));
    }
    match need {
        Need::Nothing => {}
        Need::Key(scope) => {
            if open && scope != Scope::Admin {
                // Without a key while nobody has one.
                operation = operation.security(SecurityRequirement::default());
            }
            operation = operation.security(SecurityRequirement::new(KEY, [scope.name()]));
        }
    }
    operation.build()
}

fn good(answers: &Answers, schemas: &mut Schemas) -> utoipa::openapi::Response {
    let mut response = ResponseBuilder::new().description("What was asked for");
    for (media_type, schema) in answers.content(schemas) {
        response = response.content(media_type, Content::new(schema));
    }
    response.build()
}

/// Failures look as the route's clients expect; a probe answers as it always does.
fn failure(row: &Row, probe: bool, schemas: &mut Schemas) -> utoipa::openapi::Response {
    let (media_type, schema) = match row.face {
        Face::Native => ("application/problem+json", schemas.of::<schemas::ProblemDocument>()),
        Face::OpenInference => ("application/json", schemas.of::<schemas::InferenceError>()),
        Face::OpenAi => ("application/json", schemas.of::<schemas::OpenAiFailure>()),
        Face::TorchServe => ("application/json", schemas.of::<schemas::TorchServeError>()),
    };
    let mut response = ResponseBuilder::new()
        .description("What was expected, what came, and how to mend it")
        .content(media_type, Content::new(Some(schema)));
    if probe {
        response = response.content(
            "text/plain",
            Content::new(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    response.build()
}

/// The placeholders of a path: models by the names there are.
fn parameters(path: &str, cards: &[Card]) -> Vec<Parameter> {
    let names = path.split('/').filter_map(|step| step.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let mut schema = ObjectBuilder::new().schema_type(Type::String);
            let mut known: Vec<String> = match name {
                "model" => cards.iter().map(|card| card.name.to_string()).collect(),
                "version" => cards.iter().map(|card| card.version.to_string()).collect(),
                _ => Vec::new(),
            };
            known.sort();
            known.dedup();
            if !known.is_empty() {
                schema = schema.enum_values(Some(known));
            }
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(schema))
                .build()
        })
        .collect()
}
