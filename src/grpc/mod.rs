//! The Open Inference Protocol over gRPC, with health checks and reflection: the same registry and the same
//! refusals as over HTTP, and no logic of its own. What tensors mean is in [`crate::oip`]; connections, their
//! limits and draining are those of [`crate::http`].

mod codec;
mod gate;
mod health;
mod incoming;
mod infer;
mod models;
mod pb;
mod record;
mod request;
mod response;
mod service;
mod status;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tonic::codec::CompressionEncoding::{Deflate, Gzip};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use crate::grpc::health::HealthCheck;
use crate::grpc::pb::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::grpc::service::Service;
use crate::http::App;

/// What a message may hold beside its tensors.
const MESSAGE_EXTRA_BYTES: usize = 64 << 10;

/// The service of the gRPC listener.
///
/// # Errors
/// When the descriptions that reflection shows are not those that were compiled, which does not happen.
pub fn router(app: &Arc<App>) -> Result<Router, Box<dyn std::error::Error>> {
    let most = app.limits.body_bytes_max.saturating_add(MESSAGE_EXTRA_BYTES);
    let inference = GrpcInferenceServiceServer::new(Service::new(Arc::clone(app)))
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(Gzip)
        .accept_compressed(Deflate)
        .send_compressed(Gzip)
        .send_compressed(Deflate);
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(inference)
        .add_service(HealthServer::new(HealthCheck::new(Arc::clone(app))))
        .add_service(described().build_v1()?)
        .add_service(described().build_v1alpha()?);
    Ok(routes.into_axum_router().layer(from_fn_with_state(Arc::clone(app), gate::pass)))
}
