//! `grpc.health.v1`: the server as a whole under the empty name, its service, and each model by its name.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::http::App;

/// How often a watched service is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often its status is told again, so that a connection that only watches is not taken for one that died.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// What is called a service here, beside the models.
const SERVICE: &str = "inference.GRPCInferenceService";

/// Answers health checks.
pub struct HealthCheck {
    app: Arc<App>,
}

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

impl HealthCheck {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// The status of a service; `None` when there is none of that name.
fn serving(app: &App, service: &str) -> Option<ServingStatus> {
    let ready = if service.is_empty() || service == SERVICE {
        app.unready().is_empty()
    } else {
        app.registry.is_ready(&service.parse().ok()?, None).ok()?
    };
    Some(if ready { ServingStatus::Serving } else { ServingStatus::NotServing })
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthCheck {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = serving(&self.app, &service);
        let unknown = || Status::not_found("a service is \"\", the inference service, or a model");
        status.map(|status| Response::new(response(status))).ok_or_else(unknown)
    }

    type WatchStream = Statuses;

    /// Tells the status, and again each time that it changes and once in a while; a service may come to be.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Statuses>, Status> {
        let (app, service) = (Arc::clone(&self.app), request.into_inner().service);
        let state = (app, service, None);
        let statuses = stream::unfold(state, |(app, service, last)| async move {
            loop {
                let now = serving(&app, &service).unwrap_or(ServingStatus::ServiceUnknown);
                let known = last.is_some_and(|(told, at): (ServingStatus, Instant)| {
                    told == now && at.elapsed() < TELL_AGAIN
                });
                if !known {
                    return Some((Ok(response(now)), (app, service, Some((now, Instant::now())))));
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = app.cut() => return None,
                }
            }
        });
        Ok(Response::new(statuses.boxed()))
    }
}
