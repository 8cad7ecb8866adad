//! `maas config check`, `maas config show [--defaults]`

use crate::cli::Outcome;
use crate::cli::settings::SettingsArgs;
use crate::config;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say whether the settings can be served with, and everything that is wrong when they cannot
    Check(SettingsArgs),
    /// Print the settings as they come out of file, environment and flags
    Show {
        #[command(flatten)]
        settings: SettingsArgs,
        /// Print config/maas.toml instead: every key, its default, and what it is
        #[arg(long)]
        defaults: bool,
    },
}

pub fn run(args: Args) -> Outcome {
    match args.verb {
        Verb::Check(settings) => {
            settings.read()?;
            println!("ok");
        }
        Verb::Show { defaults: true, .. } => print!("{}", config::defaults()),
        Verb::Show { settings, .. } => print!("{}", config::show(&settings.read()?)),
    }
    Ok(())
}
