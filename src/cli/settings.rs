//! The flags of settings, one per row of the table of keys, for every verb that reads settings.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, Error, FromArgMatches};

use crate::access::{Keys, check_bind};
use crate::cli::Failure;
use crate::config::{self, Form, KEYS, Overrides, ReadError, Settings};
use crate::domain::ModelName;
use crate::engine::Limits;
use crate::registry::Placement;

/// What the command line says of settings; `#[command(flatten)]` gives a verb all of its flags.
#[derive(Debug, Default)]
pub struct SettingsArgs(Overrides);

impl SettingsArgs {
    /// # Errors
    /// As [`config::read`].
    pub fn read(&self) -> Result<Settings, ReadError> {
        config::read(&self.0)
    }
}

impl clap::Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Settings file [default: config/maas.toml when it exists]");
        KEYS.iter().fold(command.arg(file), |command, key| {
            let (section, _) = key.place();
            let default = (key.get)(&Settings::default()).unwrap_or_default();
            let shown = if default.is_empty() { "none".to_owned() } else { default };
            let arg = Arg::new(key.name)
                .long(key.flag())
                .help(format!("{} [default: {shown}]", key.doc.trim_end_matches('.')))
                .help_heading((!section.is_empty()).then_some(section));
            command.arg(match key.form {
                Form::Text => arg.value_name("TEXT"),
                Form::Integer => arg.value_name("N"),
                Form::Boolean => arg
                    .value_name("BOOL")
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true"),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let typed = |name: &str| matches.get_one::<String>(name).cloned();
        let values = KEYS
            .iter()
            .filter_map(|key| typed(key.name).map(|value| (key.name.to_owned(), value)))
            .collect();
        Ok(Self(Overrides { file: matches.get_one::<PathBuf>("config").cloned(), values }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The keys, when the addresses may be bound with them.
pub fn keys(settings: &Settings) -> Result<Keys, Failure> {
    let keys = settings.keys.as_deref().map(Keys::read).transpose()?.unwrap_or_default();
    for address in [settings.http, settings.grpc, settings.admin] {
        check_bind(address, &keys, settings.insecure)?;
    }
    Ok(keys)
}

/// How a model is to run: its own section of the settings over what holds for all.
pub fn placement(settings: &Settings, model: Option<&ModelName>) -> Placement {
    let own = model.and_then(|name| settings.models.get(name)).copied();
    let own = own.unwrap_or_default();
    let all = settings.engine;
    let intra_op_threads = own.intra_op_threads.unwrap_or(all.intra_op_threads);
    let instances = match own.instances {
        // As many as there are threads for, where each takes several.
        0 if intra_op_threads > 1 => (all.threads() / intra_op_threads).max(1),
        instances => instances,
    };
    Placement {
        device: own.device.unwrap_or(settings.device),
        cpu: settings.cpu,
        limits: Limits {
            batch_rows_max: own.batch_rows_max.unwrap_or(all.batch_rows_max),
            batch_cost_max: all.batch_cost_max,
            batch_delay_max: own.batch_delay_max.unwrap_or(all.batch_delay_max).0,
            batch_auto: own.batch_auto.unwrap_or(all.batch_auto),
            queue_rows_max: own.queue_rows_max.unwrap_or(all.queue_rows_max),
            queue_wait_max: own.queue_wait_max.unwrap_or(all.queue_wait_max),
            instances,
            weight: own.weight,
            generated_tokens_max: settings.media.generated_tokens_max,
        },
        intra_op_threads,
        media: settings.media,
        required: own.required,
    }
}
