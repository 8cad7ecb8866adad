//! Four layers become one value: defaults, then the file, then the environment, then flags. A pure
//! function of its arguments, which finds every fault before it gives up.

use crate::config::Settings;
use crate::config::fault::{Fault, Faults};
use crate::config::file::File;
use crate::config::table::{KEYS, Key};

/// Variables of this program that are no settings: where the file is, and the build's revision.
const OTHER_VARIABLES: [&str; 2] = ["MAAS_CONFIG", "MAAS_REVISION"];

/// Settings from `file`, the variables in `environment` whose names begin with `MAAS_`, and `flags`
/// (a key's name and its value). An upper layer takes precedence over a lower one.
///
/// # Errors
/// [`Faults`] with every unknown key or variable, every value that is not of the kind its key takes, and
/// values that contradict each other.
pub fn load(
    file: Option<File<'_>>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<Settings, Faults> {
    let mut settings = Settings::default();
    let mut faults = Vec::new();
    if let Some(file) = file {
        file.apply(&mut settings, &mut faults);
    }
    for (variable, text) in environment.filter(|(name, _)| name.starts_with("MAAS_")) {
        let key = KEYS.iter().find(|key| key.variable() == variable);
        let other = OTHER_VARIABLES.contains(&&*variable) || is_service_link(&variable, &text);
        if key.is_some() || !other {
            let origin = format!("variable {variable}");
            faults.extend(assign(key, &mut settings, origin, &text));
        }
    }
    for (name, text) in flags {
        let key = KEYS.iter().find(|key| key.name == name);
        let origin = key.map_or_else(|| name.clone(), |key| format!("flag --{}", key.flag()));
        faults.extend(assign(key, &mut settings, origin, text));
    }
    faults.extend(contradictions(&settings));
    if faults.is_empty() { Ok(settings) } else { Err(Faults(faults)) }
}

fn assign(
    key: Option<&Key<Settings>>,
    settings: &mut Settings,
    origin: String,
    text: &str,
) -> Option<Fault> {
    let got = format!("{text:?}");
    match key.map(|key| (key.set)(settings, text)) {
        Some(Ok(())) => None,
        Some(Err(expected)) => Some(Fault { origin, expected, got }),
        None => {
            let expected = "a name that `maas config show --defaults` lists".to_owned();
            Some(Fault { origin, expected, got: "an unknown one".to_owned() })
        }
    }
}

/// Kubernetes sets such variables in every pod beside a Service called `maas` or `maas-…`.
fn is_service_link(variable: &str, value: &str) -> bool {
    variable.contains("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || ["_TCP", "_UDP"].iter().any(|protocol| variable.contains(protocol))
        || (variable.ends_with("_PORT") && value.contains("://"))
}

fn contradictions(settings: &Settings) -> Vec<Fault> {
    let mut faults = Vec::new();
    if settings.http == settings.admin && settings.http.port() != 0 {
        faults.push(Fault {
            origin: "http, admin".to_owned(),
            expected: "two addresses".to_owned(),
            got: format!("{} twice", settings.http),
        });
    }
    let (default, longest) = (settings.limits.deadline_default, settings.limits.deadline_max);
    if default > longest {
        faults.push(Fault {
            origin: "limits.deadline_default_ms".to_owned(),
            expected: format!("at most limits.deadline_max_ms, {}", longest.as_millis()),
            got: default.as_millis().to_string(),
        });
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DeviceChoice;

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn check(
        text: &str,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Settings, Vec<String>> {
        let file = Some(File { name: "maas.toml", text });
        load(file, owned(environment).into_iter(), &owned(flags))
            .map_err(|faults| faults.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_typed_gives_the_defaults() {
        assert_eq!(load(None, std::iter::empty(), &[]), Ok(Settings::default()));
        assert_eq!(check("", &[], &[]), Ok(Settings::default()));
    }

    #[test]
    fn an_upper_layer_takes_precedence() {
        let text = "[engine]\nworkers = 1\nbatch_rows_max = 1\nqueue_rows_max = 1\n";
        let environment = [("MAAS_ENGINE_WORKERS", "2"), ("MAAS_ENGINE_BATCH_ROWS_MAX", "2")];
        let engine = check(text, &environment, &[("engine.workers", "3")]).unwrap().engine;
        assert_eq!((engine.workers, engine.batch_rows_max, engine.queue_rows_max), (3, 2, 1));
    }

    #[test]
    fn every_fault_of_every_layer_is_reported_at_once() {
        let text = "htttp = \"x\"\ninsecure = \"yes\"\n[limits]\nbody_bytes_max = 0\nbody = 1\n\
                    [colour]\n[models.Big]\n[models.a]\nbatch_rows_max = \"4\"\nspeed = 1\n";
        let environment = [("MAAS_HTTP", "8080"), ("MAAS_COLOUR", "red"), ("PATH", "/bin")];
        let faults = check(text, &environment, &[("drain.grace_ms", "5s")]).unwrap_err();
        let expected = [
            "maas.toml, htttp: expected one of http, grpc, admin,",
            "maas.toml, insecure: expected true or false, got \"yes\"",
            "maas.toml, limits.body_bytes_max: expected a whole number from 1 to 1099511627776, got 0",
            "maas.toml, limits.body: expected one of body_bytes_max, connections_max,",
            "maas.toml, colour: expected one of http,",
            "maas.toml, models.Big: expected a model name",
            "maas.toml, models.a.batch_rows_max: expected a whole number, got \"4\"",
            "maas.toml, models.a.speed: expected one of device, intra_op_threads,",
            "variable MAAS_HTTP: expected an address with a port,",
            "variable MAAS_COLOUR: expected a name that",
            "flag --drain-grace-ms: expected a whole number from 0 to 86400000, got \"5s\"",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, start) in faults.iter().zip(expected) {
            assert!(fault.starts_with(start), "{fault}\n{start}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_with_its_line() {
        let faults = check("http = \"127.0.0.1:1\"\nadmin = \n", &[], &[]).unwrap_err();
        assert!(faults[0].starts_with("maas.toml, line 2: expected TOML"), "{faults:?}");
    }

    #[test]
    fn a_model_has_settings_of_its_own() {
        let text = "[models.speech]\ndevice = \"cuda:1\"\nrequired = false\n";
        let settings = check(text, &[], &[]).unwrap();
        let model = settings.models[&"speech".parse().unwrap()];
        assert_eq!(model.device, Some(DeviceChoice::Cuda(1)));
        assert_eq!((model.batch_rows_max, model.required), (None, false));
    }

    #[test]
    fn variables_of_a_kubernetes_service_are_no_settings() {
        let links = [
            ("MAAS_PORT", "tcp://10.0.0.1:8080"),
            ("MAAS_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("MAAS_SERVICE_HOST", "10.0.0.1"),
            ("MAAS_ADMIN_SERVICE_PORT_HTTP", "9090"),
            ("MAAS_CONFIG", "elsewhere.toml"),
        ];
        assert_eq!(check("", &links, &[]), Ok(Settings::default()));
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        for (name, text, origin) in [
            ("admin", "127.0.0.1:8080", "http, admin: expected two addresses"),
            ("limits.deadline_max_ms", "1", "limits.deadline_default_ms: expected at most"),
        ] {
            let faults = check("", &[], &[(name, text)]).unwrap_err();
            assert!(faults[0].starts_with(origin), "{faults:?}");
        }
        check("", &[], &[("http", "127.0.0.1:0"), ("admin", "127.0.0.1:0")]).unwrap();
    }
}
