//! What is wrong with a recipe, told with its file and line.

use std::iter;
use std::path::Path;

use crate::arch::{OpenError, TrainError};
use crate::cli::Failure;

/// The tables and keys of a recipe whose faults an architecture finds.
const SECTIONS: [&str; 5] = ["task", "architecture", "preprocessing", "data", "fit"];

/// An error of a run; where it is the recipe's, with the recipe's path and the line where the table begins.
pub fn told(path: &Path, text: &str, error: TrainError) -> Failure {
    let TrainError::Open(OpenError::Config { section, reason }) = error else {
        return error.into();
    };
    let own = section.split('.').next().is_some_and(|first| SECTIONS.contains(&first));
    if !own {
        return TrainError::Open(OpenError::Config { section, reason }).into();
    }
    let line = line(text, section).map_or(String::new(), |line| format!(", line {line}"));
    format!("{}{line}: {section}: {reason}", path.display()).into()
}

/// Where a table is headed, or the one that it is in.
fn line(text: &str, section: &str) -> Option<usize> {
    let headed = |table: &str| {
        let header = format!("[{table}]");
        text.lines().position(|line| line.trim_start().starts_with(&header))
    };
    let mut tables = iter::successors(Some(section), |table| Some(table.rsplit_once('.')?.0));
    tables.find_map(headed).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_recipe_has_its_path_and_the_line_of_its_table() {
        let text = "task = \"x\"\n[fit]\nepochs = 1\n  [data] # here\n";
        let told = |section| {
            let error = OpenError::Config { section, reason: "no".to_owned() };
            told(Path::new("a.toml"), text, error.into()).to_string()
        };
        assert_eq!(told("fit.options"), "a.toml, line 2: fit.options: no");
        assert_eq!(told("data.labels"), "a.toml, line 4: data.labels: no");
        assert_eq!(told("task"), "a.toml: task: no");
        assert!(told("tokenizer.json").starts_with("the manifest's tokenizer.json"));
    }
}
