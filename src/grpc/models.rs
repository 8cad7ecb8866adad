//! What is said of models, as messages.

use crate::grpc::pb;
use crate::grpc::pb::log_settings_response::setting_value::ParameterChoice;
use crate::oip::{
    DurationStatistic, IndexEntry, InstanceGroup, ModelConfig, ModelMetadata, ModelStatistics,
    TensorConfig, TensorMetadata,
};
use crate::telemetry::Levels;

impl From<ModelMetadata> for pb::ModelMetadataResponse {
    fn from(metadata: ModelMetadata) -> Self {
        let tensor = |tensor: TensorMetadata| pb::model_metadata_response::TensorMetadata {
            name: tensor.name,
            datatype: tensor.datatype.name().to_owned(),
            shape: tensor.shape,
        };
        Self {
            name: metadata.name.to_string(),
            versions: metadata.versions,
            platform: metadata.platform.to_owned(),
            inputs: metadata.inputs.into_iter().map(tensor).collect(),
            outputs: metadata.outputs.into_iter().map(tensor).collect(),
        }
    }
}

/// A count as the protocol has it.
fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn data_type(tensor: &TensorConfig) -> i32 {
    pb::DataType::from_str_name(&tensor.data_type).unwrap_or_default().into()
}

impl From<ModelConfig> for pb::ModelConfig {
    fn from(config: ModelConfig) -> Self {
        let versions = config.version_policy.specific.versions.into_iter().map(i64::from);
        let specific = pb::model_version_policy::Specific { versions: versions.collect() };
        let policy = pb::model_version_policy::PolicyChoice::Specific(specific);
        let sizes = config.dynamic_batching.preferred_batch_size.into_iter().map(int).collect();
        Self {
            name: config.name.to_string(),
            platform: config.platform.to_owned(),
            backend: config.backend.to_owned(),
            version_policy: Some(pb::ModelVersionPolicy { policy_choice: Some(policy) }),
            max_batch_size: int(config.max_batch_size),
            input: config
                .input
                .into_iter()
                .map(|tensor| pb::ModelInput {
                    data_type: data_type(&tensor),
                    name: tensor.name,
                    dims: tensor.dims,
                })
                .collect(),
            output: config
                .output
                .into_iter()
                .map(|tensor| pb::ModelOutput {
                    data_type: data_type(&tensor),
                    name: tensor.name,
                    dims: tensor.dims,
                })
                .collect(),
            instance_group: config.instance_group.into_iter().map(Into::into).collect(),
            dynamic_batching: Some(pb::ModelDynamicBatching {
                preferred_batch_size: sizes,
                max_queue_delay_microseconds: config.dynamic_batching.max_queue_delay_microseconds,
            }),
            model_transaction_policy: Some(pb::ModelTransactionPolicy {
                decoupled: config.model_transaction_policy.decoupled,
            }),
        }
    }
}

impl From<InstanceGroup> for pb::ModelInstanceGroup {
    fn from(group: InstanceGroup) -> Self {
        let kind = pb::model_instance_group::Kind::from_str_name(group.kind).unwrap_or_default();
        Self {
            name: group.name,
            count: int(group.count),
            gpus: group.gpus.into_iter().map(int).collect(),
            kind: kind.into(),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "messages in messages are optional")]
fn duration(statistic: DurationStatistic) -> Option<pb::StatisticDuration> {
    Some(pb::StatisticDuration { count: statistic.count, ns: statistic.ns })
}

impl From<ModelStatistics> for pb::ModelStatistics {
    fn from(stats: ModelStatistics) -> Self {
        let requests = stats.inference_stats;
        Self {
            name: stats.name.to_string(),
            version: stats.version,
            last_inference: stats.last_inference,
            inference_count: stats.inference_count,
            execution_count: stats.execution_count,
            inference_stats: Some(pb::InferStatistics {
                success: duration(requests.success),
                fail: duration(requests.fail),
                queue: duration(requests.queue),
                compute_input: duration(requests.compute_input),
                compute_infer: duration(requests.compute_infer),
                compute_output: duration(requests.compute_output),
                cache_hit: duration(requests.cache_hit),
                cache_miss: duration(requests.cache_miss),
            }),
            batch_stats: stats
                .batch_stats
                .into_iter()
                .map(|size| pb::InferBatchStatistics {
                    batch_size: size.batch_size,
                    compute_input: duration(size.compute_input),
                    compute_infer: duration(size.compute_infer),
                    compute_output: duration(size.compute_output),
                })
                .collect(),
            memory_usage: stats
                .memory_usage
                .into_iter()
                .map(|usage| pb::MemoryUsage {
                    r#type: usage.r#type.to_owned(),
                    id: usage.id,
                    byte_size: usage.byte_size,
                })
                .collect(),
        }
    }
}

impl From<IndexEntry> for pb::repository_index_response::ModelIndex {
    fn from(entry: IndexEntry) -> Self {
        Self {
            name: entry.name.to_string(),
            version: entry.version,
            state: entry.state.to_owned(),
            reason: entry.reason,
        }
    }
}

impl From<Levels> for pb::LogSettingsResponse {
    fn from(levels: Levels) -> Self {
        let Levels { log_info, log_warning, log_error, log_verbose_level } = levels;
        let verbose = u32::try_from(log_verbose_level).unwrap_or(u32::MAX);
        let settings = [
            ("log_info", ParameterChoice::BoolParam(log_info)),
            ("log_warning", ParameterChoice::BoolParam(log_warning)),
            ("log_error", ParameterChoice::BoolParam(log_error)),
            ("log_verbose_level", ParameterChoice::Uint32Param(verbose)),
        ];
        let setting = |(name, choice): (&str, _)| {
            let value = pb::log_settings_response::SettingValue { parameter_choice: Some(choice) };
            (name.to_owned(), value)
        };
        Self { settings: settings.into_iter().map(setting).collect() }
    }
}
