//! `--report DIR`: the report as JSON, and its pictures.

use std::fs;
use std::path::Path;

use crate::cli::eval::Report;
use crate::cli::{Failure, Outcome};

pub fn make(directory: &Path) -> Outcome {
    fs::create_dir_all(directory).map_err(|error| refused(directory, &error))
}

/// Files of an earlier report are replaced.
pub fn write(directory: &Path, report: &Report) -> Outcome {
    let title = format!("{}: {}", report.package, report.evaluation.data_description);
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).map_err(|error| refused(&path, &error))
    };
    write("report.json", &serde_json::to_vec_pretty(report)?)?;
    for (name, picture) in report.detail.pictures(&title)? {
        write(&format!("{name}.svg"), picture.svg.as_bytes())?;
        write(&format!("{name}.png"), &picture.png)?;
    }
    Ok(())
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    format!("{} cannot be written: {error}", path.display()).into()
}
