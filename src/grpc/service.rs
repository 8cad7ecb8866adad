//! The methods: extract, call, return.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::domain::{Kind, ParamValue, Params, Problem, Version};
use crate::grpc::gate::{self, Asker, Began};
use crate::grpc::infer::{Call, Responses, STREAMING, named};
use crate::grpc::pb::grpc_inference_service_server::GrpcInferenceService;
use crate::grpc::pb::log_settings_request::setting_value::ParameterChoice as Setting;
use crate::grpc::pb::model_repository_parameter::ParameterChoice;
use crate::grpc::pb::{self, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use crate::grpc::response;
use crate::grpc::status::{OURS, status};
use crate::http::App;
use crate::oip::{self, ModelConfig, ModelMetadata, statistics, versions};
use crate::registry::Model;

/// Requests of one stream that are under way at once.
const AHEAD: usize = 64;

type Streamed = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

/// The inference service.
pub struct Service {
    app: Arc<App>,
}

impl Service {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    fn model(&self, name: &str, version: &str) -> Result<Arc<Model>, Status> {
        let (name, version) = named(name, version).map_err(|problem| status(&problem))?;
        self.app.registry.get(&name, version).map_err(|problem| status(&problem))
    }

    fn call(&self, method: &'static str, request: &Request<impl Sized>) -> Result<Call, Status> {
        let Began(began) =
            request.extensions().get().copied().unwrap_or_else(|| Began(Instant::now()));
        let asker = asker(request.extensions());
        let call = Call::begin(Arc::clone(&self.app), method, asker, began, request.metadata());
        call.map_err(|problem| status(&problem))
    }
}

/// Put there by the gate.
fn asker(extensions: &Extensions) -> Asker {
    extensions.get::<Asker>().cloned().unwrap_or(Asker(None))
}

/// A request's responses as those of a stream. A failure names the request.
fn told(answered: Result<Responses, Problem>, id: String) -> Streamed {
    let response = move |answered: Result<ModelInferResponse, Problem>| {
        Ok(answered.map_or_else(
            |problem| ModelStreamInferResponse {
                error_message: problem.sentence(),
                infer_response: Some(ModelInferResponse {
                    id: id.clone(),
                    ..ModelInferResponse::default()
                }),
            },
            |response| ModelStreamInferResponse {
                error_message: String::new(),
                infer_response: Some(response),
            },
        ))
    };
    match answered {
        Ok(responses) => responses.map(response).boxed(),
        Err(problem) => stream::once(std::future::ready(response(Err(problem)))).boxed(),
    }
}

/// Parameters of the repository's methods.
fn parameters<'a>(
    message: impl IntoIterator<Item = (&'a String, &'a pb::ModelRepositoryParameter)>,
) -> Params {
    let mut params = Params::default();
    for (name, parameter) in message {
        #[expect(clippy::cast_precision_loss, reason = "versions lie far below 2^53")]
        let value = match &parameter.parameter_choice {
            Some(ParameterChoice::BoolParam(flag)) => ParamValue::Bool(*flag),
            Some(ParameterChoice::Int64Param(number)) => ParamValue::Number(*number as f64),
            Some(ParameterChoice::StringParam(text)) => ParamValue::Text(text.clone()),
            Some(ParameterChoice::BytesParam(_)) | None => ParamValue::Text(String::new()),
        };
        let clipped: String = name.chars().take(80).collect();
        params.insert(name, value, format!("/parameters/{clipped}"));
    }
    params
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(
        &self,
        _: Request<pb::ServerLiveRequest>,
    ) -> Answer<pb::ServerLiveResponse> {
        Ok(Response::new(pb::ServerLiveResponse { live: (self.app.live)() }))
    }

    async fn server_ready(
        &self,
        _: Request<pb::ServerReadyRequest>,
    ) -> Answer<pb::ServerReadyResponse> {
        Ok(Response::new(pb::ServerReadyResponse { ready: self.app.unready().is_empty() }))
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Answer<pb::ModelReadyResponse> {
        let pb::ModelReadyRequest { name, version } = request.into_inner();
        let (name, version) = named(&name, &version).map_err(|problem| status(&problem))?;
        let ready =
            self.app.registry.is_ready(&name, version).map_err(|problem| status(&problem))?;
        Ok(Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<pb::ServerMetadataRequest>,
    ) -> Answer<pb::ServerMetadataResponse> {
        Ok(Response::new(pb::ServerMetadataResponse {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: oip::EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Answer<pb::ModelMetadataResponse> {
        let pb::ModelMetadataRequest { name, version } = request.into_inner();
        let model = self.model(&name, &version)?;
        let versions = versions(&self.app.registry, &model.card.name);
        Ok(Response::new(ModelMetadata::of(&model.card, versions).into()))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let call = self.call("ModelInfer", &request)?;
        let mut responses =
            call.predict(request.into_inner()).await.map_err(|problem| status(&problem))?;
        let first = responses.next().await;
        let none = || Problem::new(Kind::Internal, "the model gave no answer");
        let mut response =
            first.unwrap_or_else(|| Err(none())).map_err(|problem| status(&problem))?;
        // One request, one response: only streams say which is the last.
        response.parameters.remove(response::FINAL);
        Ok(Response::new(response))
    }

    type ModelStreamInferStream = Streamed;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<Streamed> {
        let call = self.call(STREAMING, &request)?;
        let answered = request.into_inner().map(move |message| {
            let call = call.clone();
            async move {
                let message = match message {
                    Ok(message) => message,
                    // What follows bytes that are no message cannot be told apart: the stream ends.
                    Err(broken) => {
                        let ours = broken.metadata().contains_key(OURS);
                        let problem =
                            || gate::misread(broken.code()).unwrap_or_else(gate::no_message);
                        let broken = if ours { broken } else { status(&problem()) };
                        return stream::once(std::future::ready(Err(broken))).boxed();
                    }
                };
                let id = message.id.clone();
                told(call.predict(message).await, id)
            }
        });
        Ok(Response::new(answered.buffered(AHEAD).flatten().boxed()))
    }

    async fn model_config(
        &self,
        request: Request<pb::ModelConfigRequest>,
    ) -> Answer<pb::ModelConfigResponse> {
        let pb::ModelConfigRequest { name, version } = request.into_inner();
        let model = self.model(&name, &version)?;
        let config = ModelConfig::of(&model, self.app.media.items_max);
        Ok(Response::new(pb::ModelConfigResponse { config: Some(config.into()) }))
    }

    async fn model_statistics(
        &self,
        request: Request<pb::ModelStatisticsRequest>,
    ) -> Answer<pb::ModelStatisticsResponse> {
        let pb::ModelStatisticsRequest { name, version } = request.into_inner();
        let slots = self.app.registry.list();
        let models: Vec<Arc<Model>> = if name.is_empty() {
            slots.into_iter().filter_map(|slot| slot.model).collect()
        } else {
            let asked = self.model(&name, &version)?;
            let same = |model: &Arc<Model>| {
                model.card.name == asked.card.name
                    && (version.is_empty() || model.card.version == asked.card.version)
            };
            slots.into_iter().filter_map(|slot| slot.model).filter(same).collect()
        };
        let model_stats = models.iter().map(|model| statistics(model).into()).collect();
        Ok(Response::new(pb::ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<pb::RepositoryIndexRequest>,
    ) -> Answer<pb::RepositoryIndexResponse> {
        let entries = oip::index(&self.app.registry, request.into_inner().ready);
        let models = entries.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<pb::RepositoryModelLoadRequest>,
    ) -> Answer<pb::RepositoryModelLoadResponse> {
        let message = request.into_inner();
        let (name, _) = named(&message.model_name, "").map_err(|problem| status(&problem))?;
        let version: Option<Version> = oip::load_version(&parameters(&message.parameters))
            .map_err(|problem| status(&problem))?;
        self.app.load(name, version).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(pb::RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Answer<pb::RepositoryModelUnloadResponse> {
        let message = request.into_inner();
        let (name, _) = named(&message.model_name, "").map_err(|problem| status(&problem))?;
        oip::check_unload(&parameters(&message.parameters)).map_err(|problem| status(&problem))?;
        self.app.unload(name).await.map_err(|problem| status(&problem))?;
        Ok(Response::new(pb::RepositoryModelUnloadResponse {}))
    }

    async fn log_settings(
        &self,
        request: Request<pb::LogSettingsRequest>,
    ) -> Answer<pb::LogSettingsResponse> {
        let mut params = Params::default();
        for (name, value) in request.into_inner().settings {
            let value = match value.parameter_choice {
                Some(Setting::BoolParam(flag)) => ParamValue::Bool(flag),
                Some(Setting::Uint32Param(number)) => ParamValue::Number(number.into()),
                Some(Setting::StringParam(text)) => ParamValue::Text(text),
                // A client that only looks sends names without values.
                None => continue,
            };
            let clipped: String = name.chars().take(80).collect();
            params.insert(&name, value, format!("/settings/{clipped}"));
        }
        let levels = self.app.logging.change(&params).map_err(|problem| status(&problem))?;
        Ok(Response::new(levels.into()))
    }
}
