//! The one mapping of the vocabulary of failure to gRPC.

use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::domain::{Kind, Problem};

/// Marks statuses that were made here, and not by the library.
pub const OURS: &str = "maas-problem";

/// When to try again where nothing says it better.
const SOON: Duration = Duration::from_secs(1);

/// A problem as a status. Who may try again is told when, in milliseconds, as gRPC's retries read it.
pub fn status(problem: &Problem) -> Status {
    let mut status = Status::new(code(problem.kind), problem.sentence());
    status.metadata_mut().insert(OURS, MetadataValue::from_static("1"));
    let busy = matches!(
        problem.kind,
        Kind::Overloaded | Kind::Loading | Kind::Unavailable | Kind::RateLimited
    );
    if let Some(wait) = problem.retry_after.or_else(|| busy.then_some(SOON)) {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from(wait));
    }
    status
}

fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidInput | Kind::UnsupportedMedia | Kind::Undecodable => Code::InvalidArgument,
        Kind::Unsupported => Code::Unimplemented,
        Kind::NotFound => Code::NotFound,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::TooLarge | Kind::RateLimited | Kind::StorageFull => Code::ResourceExhausted,
        Kind::Overloaded | Kind::Loading | Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Internal => Code::Internal,
    }
}
